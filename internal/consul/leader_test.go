package consul

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"testbed"
	"testbed/consul"
)

// The leader of three servers dies under load. Whoever asks another server sees no
// instance vanish, no document and no state; after the election all goes on, and the
// one that died catches up.
func TestLeaderIsLost(t *testing.T) {
	t.Parallel()
	cluster := testbed.ConsulCluster(t)
	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	follower := otherThan(cluster, leader)
	c := newCatalog(t, follower.Address())
	elected := unique("elected")
	d := run(t, Options{Address: follower.Address()}, nil)
	d.Watch(elected)
	one, two := c.add(elected, "http://127.0.0.1:7091"), c.add(elected, "http://127.0.0.1:7092")
	d.await(t, elected, one, two)
	s := openStore(t, follower.Address(), "elected", t.TempDir())
	signals := s.watching(t)
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.publish(t, "a", 1, 1)
	s.become(t, signals, "a=1%")

	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	successor := make(chan error, 1)
	go func() {
		_, err := cluster.Leader(t.Context())
		successor <- err
	}()
	looks, silent := 0, 0
	for waiting := true; waiting; looks++ {
		select {
		case err := <-successor:
			if err != nil {
				t.Fatal(err)
			}
			waiting = false
		default:
		}
		if got := d.Endpoints(elected); !slices.Equal(got, []string{one, two}) {
			t.Fatalf("during the election: %v", got)
		}
		switch got := s.loaded(t); got {
		case "a=1%":
		case "a=1% !routes", "a=1% !effective":
			silent++
		default:
			t.Fatalf("during the election: %q", got)
		}
	}
	t.Logf("elected after %v; of %d looks %d found no leader", time.Since(died).Round(10*time.Millisecond), looks, silent)
	for revision := uint64(2); ; { // the first write after an election may still fail
		err := s.Publish(t.Context(), capability.Effective{Capability: "a", Revision: revision, Epoch: 1})
		if err == nil || errors.Is(err, ErrConflict) {
			break // done, or done by a try that seemed to fail
		}
		if time.Since(died) > deadline {
			t.Fatal(err)
		}
	}
	s.put(t, "a.yaml", "name a\nweight 2%\n")
	s.become(t, signals, "a=2%")
	three := c.add(elected, "http://127.0.0.1:7093")
	d.await(t, elected, one, two, three)
	t.Logf("changes are seen again %v after the leader died", time.Since(died).Round(10*time.Millisecond))

	if err := leader.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := openStore(t, leader.Address(), "elected", t.TempDir())
	back.bounds.answer = deadline // it may hold a question until it has heard of the leader
	back.expect(t, "a=2%")
}

// Two of three servers are gone, and nobody leads. A server that still runs answers
// what it knows to whoever takes old answers: ours are too old soon, and then no
// answers; in no case empty ones, although it may not have applied what it got last.
func TestNobodyLeads(t *testing.T) {
	t.Parallel()
	cluster := testbed.ConsulCluster(t)
	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	follower := otherThan(cluster, leader)
	c := newCatalog(t, follower.Address())
	headless := unique("headless")
	saved := t.TempDir()
	d := run(t, Options{Address: follower.Address(), Snapshot: saved, Stale: time.Second}, func(b *bounds) { b.wait = 100 * time.Millisecond })
	d.Watch(headless)
	one := c.add(headless, "http://127.0.0.1:7094")
	d.await(t, headless, one)
	d.written()
	for _, a := range cluster.Agents() {
		if a != follower {
			if err := a.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cold, err := NewDiscovery(Options{Address: follower.Address(), Snapshot: saved, Stale: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	cold.bounds.wait = 100 * time.Millisecond
	cold.Watch(headless)
	v := &view{watching: cold.watched[headless], good: cold.Instances(headless)}
	for end := time.Now().Add(deadline); ; { // until the follower has noticed
		err := cold.once(t.Context(), v)
		if errors.Is(err, errStale) || err != nil && strings.Contains(err.Error(), "No cluster leader") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("an answer without a leader is taken: %v", err)
		}
	}
	for who, discovery := range map[string]*Discovery{"running": d, "started": cold} {
		if got := discovery.Endpoints(headless); !slices.Equal(got, []string{one}) {
			t.Errorf("%s meanwhile: %v", who, got)
		}
	}
}

func otherThan(cluster *consul.Cluster, leader *consul.Agent) *consul.Agent {
	agents := cluster.Agents()
	return agents[slices.IndexFunc(agents, func(a *consul.Agent) bool { return a != leader })]
}
