package consul

import (
	"errors"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"testbed"
)

// Consul is away. Who runs goes on, who starts serves what was last good, nothing
// can be changed, and when Consul is back it is heard at once.
func TestStoreWithoutConsul(t *testing.T) {
	t.Parallel()
	agent := testbed.ConsulServer(t)
	s := openStore(t, agent.Address(), "", t.TempDir())
	if s.prefix != DefaultPrefix {
		t.Fatalf("prefix %q", s.prefix)
	}
	signals := s.watching(t)
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.publish(t, "a", 1, 1)
	s.become(t, signals, "a=1%")
	s.put(t, "a.yaml", "broken\n")
	s.become(t, signals, "a=1% !a.yaml")
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	cold := s.another(t)
	for _, store := range []*Store{s, cold} {
		store.expect(t, "a=1% !routes")
		if got := store.revision(t, "a"); got != 1 {
			t.Errorf("revision %d", got)
		}
	}
	_, problems, err := cold.Load(t.Context())
	if err != nil || !strings.Contains(problems[0].Message, "does not answer since "+cold.last.silent[routes].since.UTC().Format(time.RFC3339)) {
		t.Errorf("the problem is %v, %v", problems, err)
	}
	if _, _, err := s.elsewhere(t).Load(t.Context()); err == nil {
		t.Error("who never heard of Consul has no documents instead of an error")
	}
	if _, err := s.elsewhere(t).Effective(t.Context()); err == nil {
		t.Error("who never heard of Consul has no states instead of an error")
	}
	for what, err := range map[string]error{
		"edit":       func() error { _, err := s.Edit(t.Context(), "a", weight(1)); return err }(),
		"publish":    s.Publish(t.Context(), capability.Effective{Capability: "a", Revision: 2}),
		"append":     s.Append(t.Context(), capability.Entry{}),
		"register":   s.Register(t.Context(), capability.Registration{ID: "p"}),
		"registered": func() error { _, err := s.Registered(t.Context()); return err }(),
		"gone":       func() error { _, err := s.Gone(t.Context()); return err }(),
		"contents":   func() error { _, err := s.Contents(t.Context()); return err }(),
	} {
		if err == nil || errors.Is(err, ErrConflict) {
			t.Errorf("%s without Consul: %v", what, err)
		}
	}
	again := cold.watching(t)
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.become(t, signals, "a=1% !a.yaml")
	cold.become(t, again, "a=1% !a.yaml")
	s.put(t, "a.yaml", "name a\nweight 2%\n")
	s.become(t, signals, "a=2%")
	cold.become(t, again, "a=2%")
}

// Consul comes back with nothing: what it should know is served until it does.
func TestStoreOfAConsulThatLostEverything(t *testing.T) {
	t.Parallel()
	agent := testbed.ConsulServer(t)
	s := openStore(t, agent.Address(), "lost", t.TempDir())
	s.bounds.wait = 500 * time.Millisecond
	signals := s.watching(t)
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.publish(t, "a", 1, 1)
	s.become(t, signals, "a=1%")
	if err := agent.Lose(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "a=1% !a.yaml !a")
	s.another(t).expect(t, "a=1% !a.yaml !a")
	s.publish(t, "a", 2, 1)
	s.put(t, "a.yaml", "name a\nweight 3%\n")
	s.become(t, signals, "a=3%")
	if got := s.elsewhere(t).revision(t, "a"); got != 2 {
		t.Errorf("revision %d", got)
	}
}

// A partition that swallows packets: a question takes no longer than it may, what was
// last good is served, and a change behind it is seen when it heals.
func TestStorePartitioned(t *testing.T) {
	agent := testbed.Consul(t)
	w := newWire(t, agent)
	s := openStore(t, w.listener.Addr().String(), unique("store"), t.TempDir())
	near := openStore(t, agent, s.prefix, t.TempDir())
	s.bounds.answer, s.bounds.wait, s.bounds.grace = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
	signals := s.watching(t)
	near.put(t, "a.yaml", "name a\nweight 1%\n")
	s.become(t, signals, "a=1%")
	w.set(true)
	w.reset()
	near.put(t, "a.yaml", "name a\nweight 2%\n")
	began := time.Now()
	s.expect(t, "a=1% !routes")
	if took := time.Since(began); took > 5*s.bounds.answer {
		t.Errorf("served after %v", took)
	}
	w.set(false)
	w.reset()
	s.become(t, signals, "a=2%")
	w.reset() // in the middle of a blocking query
	near.put(t, "a.yaml", "name a\nweight 3%\n")
	s.become(t, signals, "a=3%")
	w.slow(20 * time.Millisecond)
	near.put(t, "a.yaml", "name a\nweight 4%\n")
	s.become(t, signals, "a=4%")
}
