package consul

import (
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"testbed"
)

// The agent comes back without its catalog, and its services register again one by
// one. Not for a moment is an instance missing that answers.
func TestAgentComesBackEmpty(t *testing.T) {
	t.Parallel()
	agent, service := testbed.ConsulServer(t), unique("returned")
	c := newCatalog(t, agent.Address())
	d := run(t, Options{Address: agent.Address()}, func(b *bounds) { b.wait = 500 * time.Millisecond })
	d.Watch(service)
	one, _ := instance(t)
	two, _ := instance(t)
	for _, endpoint := range []string{one, two} {
		c.add(service, endpoint)
	}
	d.await(t, service, one, two)
	d.written() // the signal follows what it speaks of
	for len(d.changes) > 0 {
		<-d.changes
	}
	whole := d.Instances(service)
	if err := agent.Lose(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	until := func(what string, as func([]capability.Problem) bool) {
		t.Helper()
		poll := time.NewTicker(10 * time.Millisecond) // problems wake nobody
		defer poll.Stop()
		for end := time.Now().Add(deadline); !as(d.Problems()); <-poll.C {
			if time.Now().After(end) {
				t.Fatalf("%s: %v", what, d.Problems())
			}
		}
	}
	until("not missed", func(p []capability.Problem) bool {
		return len(p) == 1 && strings.Contains(p[0].Message, "2 instances are missing in consul")
	})
	c.add(service, one)
	until("one is not back", func(p []capability.Problem) bool {
		return len(p) == 1 && strings.Contains(p[0].Message, two) && !strings.Contains(p[0].Message, one)
	})
	c.add(service, two)
	until("both are not back", func(p []capability.Problem) bool { return len(p) == 0 })
	select {
	case <-d.Changes():
		t.Errorf("%v became %v", whole, d.Instances(service))
	default:
	}
}
