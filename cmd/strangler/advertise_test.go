package main

import (
	"slices"
	"testing"
	"time"

	"strangler/internal/config"
)

// Others are told the address that the configuration has for them, and are answered
// there.
func TestAdvertisedAddressIsAnswered(t *testing.T) {
	t.Parallel()
	p := &parts{settings: config.Config{Admin: "127.0.0.1:8090", Advertise: "strangler-1.internal:18090"}}
	if got := p.adminURL(); got != "http://strangler-1.internal:18090" {
		t.Errorf("others are told %s", got)
	}
	if names := p.adminNames(); !slices.Contains(names, "strangler-1.internal") {
		t.Errorf("it is asked as %v", names)
	}
}

// A registration is renewed before a store may forget it, however long its lease.
func TestRegistrationsAreRenewedInTime(t *testing.T) {
	t.Parallel()
	for lease, want := range map[time.Duration]time.Duration{time.Second: 200 * time.Millisecond, 15 * time.Second: 3 * time.Second, 5 * time.Minute: 3 * time.Second} {
		if got := renewal(lease); got != want {
			t.Errorf("a lease of %s is renewed every %s, not %s", lease, got, want)
		}
	}
}
