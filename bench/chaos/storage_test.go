package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"
)

// Consul's leader is cut off: the others elect another one, it comes to know that it leads no more, and answers programs as
// far as they reach it. When it is mended all agree. So nothing goes around the links.
func TestTheLeaderOfConsulIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three Consul servers; run without -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := newStorage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	for fault, answers := range map[string]bool{"cut off": false, "split off": true} {
		i, old, err := s.leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.seat(i, []string{"near"}, []string{"far"})
		knows := func(program string) (leader string, err error) {
			res, err := asked.Get("http://" + s.entrance(program) + "/v1/status/leader")
			if err != nil {
				return "", err
			}
			defer res.Body.Close()
			return leader, json.NewDecoder(res.Body).Decode(&leader)
		}
		was, err := knows("near")
		if err != nil || was == "" {
			t.Fatalf("before it is %s: %q, %v", fault, was, err)
		}
		heal, err := s.disturb(ctx, fault)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.leader(ctx, old); err != nil {
			t.Fatalf("%s, and the others elect nobody: %v", fault, err)
		}
		if now, err := knows("far"); err != nil || now == was || now == "" {
			t.Errorf("%s: others take for the leader %q, %v", fault, now, err)
		}
		switch now, err := knows("near"); {
		case answers && (err != nil || now != ""):
			t.Errorf("%s: it takes for the leader %q, %v", fault, now, err)
		case !answers && err == nil:
			t.Errorf("%s: it answers %q", fault, now)
		}
		if err := heal(ctx); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.leader(ctx); err != nil {
			t.Fatalf("%s and mended: %v", fault, err)
		}
	}
}
