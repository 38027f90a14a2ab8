package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"strangler/capability"
	"testbed"
)

// TestLeader: one leads at a time, the token grows, and one whose lease was
// taken learns it.
func TestLeader(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), capability.Legacy, testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	candidate := func(name string) *Leader { return NewLeader(d, name, 600*time.Millisecond) }
	firstLeads, firstStops := make(chan uint64, 1), make(chan error, 1)
	go func() {
		firstStops <- candidate("first").Lead(t.Context(), func(string) {}, func(ctx context.Context, fence Fence) error {
			firstLeads <- fence.Token
			<-ctx.Done()
			return nil
		})
	}()
	one := <-firstLeads
	waited, secondLeads := make(chan string, 1), make(chan uint64, 1)
	ctx, stop := context.WithCancel(t.Context())
	secondStops := make(chan error, 1)
	go func() {
		secondStops <- candidate("second").Lead(ctx, func(holder string) { waited <- holder }, func(ctx context.Context, fence Fence) error {
			secondLeads <- fence.Token
			<-ctx.Done()
			return nil
		})
	}()
	if holder := <-waited; holder != "first" {
		t.Errorf("waiting for %q", holder)
	}
	// The first one sleeps through its lease, as far as the database can tell.
	if _, err := d.pool.Exec(t.Context(), `UPDATE strangler.leader SET lease_until = clock_timestamp() - interval '1 s', token = token + 1`); err != nil {
		t.Fatal(err)
	}
	if err := <-firstStops; err == nil {
		t.Error("the first leader did not learn that it was replaced")
	}
	if two := <-secondLeads; two <= one {
		t.Errorf("token %d after %d", two, one)
	}
	stop()
	if err := <-secondStops; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
