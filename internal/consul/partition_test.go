package consul

import (
	"slices"
	"strings"
	"testing"
	"time"

	"testbed"
)

// A partition that swallows packets: the questions time out, the endpoints stay,
// and what changed behind it is seen when it heals.
func TestPartitionStalls(t *testing.T) {
	stalled := unique("stalled")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	w := newWire(t, agent)
	d := start(t, Options{Address: w.listener.Addr().String()}, func(b *bounds) {
		b.wait, b.grace = 200*time.Millisecond, 100*time.Millisecond
	})
	d.Watch(stalled)
	one := c.add(stalled, "http://127.0.0.1:7031")
	d.await(t, stalled, one)
	w.set(true)
	two := c.add(stalled, "http://127.0.0.1:7032")
	for range 3 { // further connections, because the ones before were given up
		awaitSignal(t, w.tries)
	}
	if got := d.Endpoints(stalled); !slices.Equal(got, []string{one}) {
		t.Errorf("during the partition: %v", got)
	}
	if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0].String(), stalled+": consul does not answer since") {
		t.Errorf("problems during the partition: %v", p)
	}
	w.set(false)
	w.reset()
	d.await(t, stalled, one, two)
}

func TestPartitionResets(t *testing.T) {
	reset := unique("reset")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	w := newWire(t, agent)
	d := start(t, Options{Address: w.listener.Addr().String()}, nil)
	d.Watch(reset)
	endpoints := []string{c.add(reset, "http://127.0.0.1:7041")}
	d.await(t, reset, endpoints...)
	for _, next := range []string{"http://127.0.0.1:7042", "http://127.0.0.1:7043"} {
		w.reset() // in the middle of a blocking query
		endpoints = append(endpoints, c.add(reset, next))
		d.await(t, reset, endpoints...)
	}
}

// A line so slow that every answer takes a second and more: answers are late, but no
// failure, and nothing is lost.
func TestPartitionDelays(t *testing.T) {
	delayed := unique("delayed")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	w := newWire(t, agent)
	w.slow(500 * time.Millisecond)
	d := start(t, Options{Address: w.listener.Addr().String()}, func(b *bounds) { b.wait = time.Second })
	d.Watch(delayed)
	one := c.add(delayed, "http://127.0.0.1:7081")
	d.await(t, delayed, one)
	began := time.Now()
	two := c.add(delayed, "http://127.0.0.1:7082")
	d.await(t, delayed, one, two)
	t.Logf("a change came after %v over a line that delays by 500ms each way", time.Since(began).Round(10*time.Millisecond))
}
