package consul

import (
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"testbed"
)

func (s *Store) registered(t *testing.T) []capability.Registration {
	t.Helper()
	all, err := s.Registered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRegistrations(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	two := capability.Registration{ID: "p2", Admin: "http://127.0.0.1:2", Renewed: time.Unix(2, 0).UTC()}
	one := capability.Registration{ID: "p1", Admin: "http://127.0.0.1:1", Renewed: time.Unix(1, 0).UTC()}
	again := one
	again.Renewed = time.Unix(3, 0).UTC()
	for _, r := range []capability.Registration{two, one, again} {
		if err := s.Register(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if all := s.elsewhere(t).registered(t); !reflect.DeepEqual(all, []capability.Registration{again, two}) {
		t.Errorf("got %v", all)
	}
	// A process that was started again has the id, and its predecessor's goodbye does
	// not take it away.
	successor := s.another(t)
	if err := successor.Register(ctx, one); err != nil {
		t.Fatal(err)
	}
	if err := s.Deregister(ctx, "p1"); err != nil {
		t.Fatal(err)
	}
	if all := s.registered(t); !reflect.DeepEqual(all, []capability.Registration{one, two}) {
		t.Errorf("got %v", all)
	}
	for range 2 {
		if err := successor.Deregister(ctx, "p1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.elsewhere(t).Deregister(ctx, "p2"); err != nil { // by the command line
		t.Fatal(err)
	}
	if all := s.registered(t); len(all) != 0 {
		t.Errorf("got %v", all)
	}
}

// A proxy that dies, or whose session is ended, is not registered any more; one that
// lives is again by its next renewal.
func TestRegistrationEndsWithItsSession(t *testing.T) {
	s := newStore(t)
	r := capability.Registration{ID: "p1", Admin: "http://127.0.0.1:1"}
	if err := s.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	session, _, err := s.client.Session().Info(s.sessions["p1"], nil)
	if err != nil || session.TTL != "30s" || session.Behavior != api.SessionBehaviorDelete || len(session.NodeChecks) != 0 {
		t.Errorf("session %+v, %v", session, err)
	}
	if _, err := s.client.Session().Destroy(s.sessions["p1"], nil); err != nil {
		t.Fatal(err)
	}
	if all := s.registered(t); len(all) != 0 {
		t.Errorf("got %v", all)
	}
	if err := s.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if all := s.registered(t); len(all) != 1 {
		t.Errorf("got %v", all)
	}
}

// Nobody renews, and Consul itself takes the registration out. The least TTL is 10 s,
// after which Consul waits that long again.
func TestRegistrationRunsOut(t *testing.T) {
	t.Parallel()
	s := openStore(t, testbed.Consul(t), unique("store"), t.TempDir())
	s.ttl = 10 * time.Second
	if err := s.Register(t.Context(), capability.Registration{ID: "p1"}); err != nil {
		t.Fatal(err)
	}
	began, index := time.Now(), uint64(0)
	for {
		pair, meta, err := s.client.KV().Get(s.key(proxies, "p1"), (&api.QueryOptions{WaitIndex: index, WaitTime: 30 * time.Second}).WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if pair == nil {
			break
		}
		if index = meta.LastIndex; time.Since(began) > 30*time.Second {
			t.Fatal("still registered")
		}
	}
	t.Logf("registration vanished after %v with a TTL of %v", time.Since(began).Round(100*time.Millisecond), s.ttl)
}
