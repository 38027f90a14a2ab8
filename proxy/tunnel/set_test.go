package tunnel

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

func TestOpenCountsByLabel(t *testing.T) {
	t.Parallel()
	var s Set
	a, b, c := s.Begin("orders"), s.Begin("orders"), s.Begin("")
	if n := s.Open(); n["orders"] != 2 || n[""] != 1 || len(n) != 2 {
		t.Error(n)
	}
	a.End()
	a.End() // again: no matter
	c.End()
	if n := s.Open(); n["orders"] != 1 || len(n) != 1 {
		t.Error(n)
	}
	b.End()
	if n := s.Open(); len(n) != 0 {
		t.Error(n)
	}
}

func TestDrainWaitsForTheLast(t *testing.T) {
	t.Parallel()
	var s Set
	if n := s.Drain(context.Background()); n != 0 {
		t.Errorf("closed %d of none", n)
	}
	a, b := carry(t, &s, Options{}), carry(t, &s, Options{})
	drained := make(chan int, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	write(t, a.client, "on it goes")
	want(t, a.upstream, "on it goes")
	a.client.Close()
	a.upstream.Close()
	a.ended(t)
	select {
	case <-drained:
		t.Fatal("did not wait for the second")
	default:
	}
	b.client.Close()
	b.upstream.Close()
	b.ended(t)
	if n := <-drained; n != 0 {
		t.Errorf("closed %d, but they ended by themselves", n)
	}
}

func TestDrainClosesWhatIsLeft(t *testing.T) {
	t.Parallel()
	var s Set
	var all []*carried
	for range 20 {
		c := carry(t, &s, Options{})
		write(t, c.client, "x")
		want(t, c.upstream, "x")
		all = append(all, c)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if n := s.Drain(over); n != len(all) {
		t.Errorf("closed %d of %d", n, len(all))
	}
	for _, c := range all {
		if r := c.ended(t); r.End != Drained || r.FromClient != 1 {
			t.Errorf("%+v", r)
		}
		for _, far := range []end{c.client, c.upstream} {
			if b, err := io.ReadAll(far); len(b) > 0 || err != nil && !isReset(err) {
				t.Errorf("read %q, %v", b, err)
			}
		}
	}
	if c := carry(t, &s, Options{}); c != nil { // the drain is over, the set is as before
		write(t, c.client, "x")
		want(t, c.upstream, "x")
		c.client.Close()
		c.upstream.Close()
		c.ended(t)
	}
}

// Between Begin and Carry a connection changes hands. A drain that comes then
// closes it as soon as it has one.
func TestDrainMeetsAConnectionThatChangesHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		tun := s.Begin("orders")
		over, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		drained := make(chan int, 1)
		go func() { drained <- s.Drain(over) }()
		time.Sleep(time.Minute)
		late := s.Begin("orders") // it drains already
		for _, one := range []*Tunnel{tun, late} {
			client, nearClient := memoryPair()
			upstream, nearUpstream := memoryPair()
			if r := one.Carry(nearClient, nil, nearUpstream, Options{}); r.End != Drained {
				t.Errorf("%+v", r)
			}
			for _, far := range []*memory{client, upstream} {
				if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("still connected: %v", err)
				}
			}
		}
		select {
		case <-drained:
			t.Error("did not wait for the End")
		default:
		}
		tun.End()
		late.End()
		if n := <-drained; n != 1 {
			t.Errorf("closed %d; one had begun before", n)
		}
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	var s Set
	c := carry(t, &s, Options{})
	write(t, c.client, "x")
	want(t, c.upstream, "x")
	c.tunnel.Cut()
	c.tunnel.Cut()
	if r := c.ended(t); r.End != Drained {
		t.Errorf("%+v", r)
	}
	early := s.Begin("")
	defer early.End()
	early.Cut()
	_, nearClient := pair(t)
	_, nearUpstream := pair(t)
	if r := early.Carry(nearClient, nil, nearUpstream, Options{}); r.End != Drained {
		t.Errorf("%+v", r)
	}
}

// Tunnels begin and end while several drains go on; nothing is left or waits for
// ever.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	var s Set
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				client, nearClient := memoryPair()
				upstream, nearUpstream := memoryPair()
				c := carryOver(&s, client, nearClient, upstream, nearUpstream, Options{Idle: time.Minute})
				if i%2 == 0 {
					_, _ = client.CloseWrite(), upstream.CloseWrite()
				} else {
					c.tunnel.Cut()
				}
				c.ended(t)
			}
		})
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for range 4 {
		wg.Go(func() {
			for range 50 {
				s.Drain(over)
			}
		})
	}
	wg.Wait()
	s.Drain(context.Background())
	if n := s.Open(); len(n) != 0 {
		t.Error(n)
	}
}
