package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"strangler/capability"
)

func TestNothingToPick(t *testing.T) {
	p := New(Options{})
	if e := p.Pick(nil); e != nil {
		t.Errorf("picked %s from nothing", e.Address())
	}
	if p.Size() != 0 || len(p.Endpoints()) != 0 {
		t.Error("an empty pool has endpoints")
	}
}

func TestListedEndpointsAreUsed(t *testing.T) {
	p := New(Options{NewLeg: (&fakeLegs{}).make})
	p.Use(capability.Upstream{Endpoints: []string{at(0), "http://e1/path", "::", at(0), at(2)}})
	if got := states(p); got != "e0 healthy, e2 healthy" {
		t.Errorf("endpoints %q", got)
	}
}

func TestWeights(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {3, 1}, {1, 0, 1}, {100, 1}, {5, 3, 2}, {10, 1, 1, 1, 1, 1, 1, 1, 1, 1}} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			instances, sum := some(len(weights)), 0
			for i, w := range weights {
				instances[i].Weight = w
				sum += max(1, w)
			}
			p, _ := poolOf(capability.Upstream{}, Options{}, instances...)
			got := shares(p, 50_000)
			for i, w := range weights {
				if want := float64(max(1, w)) / float64(sum); !near(got[at(i)], want, 0.015) {
					t.Errorf("endpoint %d got %.3f, want %.3f", i, got[at(i)], want)
				}
			}
		})
	}
}

// What is in flight settles in proportion to the weights.
func TestTheLessBusyIsChosen(t *testing.T) {
	instances := some(10)
	for i := range instances {
		instances[i].Weight = 1 + i%2*3
	}
	p, _ := poolOf(capability.Upstream{}, Options{}, instances...)
	for range 2_500 {
		p.Pick(nil).Begin()
	}
	for _, i := range p.Endpoints() {
		if want := float64(100 * i.Weight); !near(float64(i.InFlight), want, 0.12*want) {
			t.Errorf("weight %d: %d in flight, want about %.0f", i.Weight, i.InFlight, want)
		}
	}
}

// One slow endpoint keeps its requests; the others take what it cannot.
func TestASlowEndpointGetsLess(t *testing.T) {
	p, _ := poolOf(capability.Upstream{}, Options{}, some(4)...)
	slow, got := p.the(t, at(0)), 0
	for range 1_000 {
		e := p.Pick(nil)
		e.Begin()
		if e == slow {
			got++
			continue
		}
		e.End(OK, "")
	}
	if got > 20 {
		t.Errorf("the slow one was given %d of 1000", got)
	}
}

func TestTriedEndpointsArePassedOver(t *testing.T) {
	for _, n := range []int{1, 2, 3, 64, 200} {
		p, _ := poolOf(capability.Upstream{}, Options{}, some(n)...)
		var tried []*Endpoint
		seen := map[*Endpoint]bool{}
		for range n {
			e := p.Pick(tried)
			if e == nil || seen[e] {
				t.Fatalf("of %d, after %d: %v", n, len(tried), e)
			}
			seen[e] = true
			tried = append(tried, e)
		}
		if e := p.Pick(tried); e != nil {
			t.Errorf("of %d, all tried: %s", n, e.Address())
		}
	}
}

func TestTheUnwellAreTheLastResort(t *testing.T) {
	p, _ := poolOf(capability.Upstream{}, Options{}, some(3)...)
	p.the(t, at(1)).fail(5)
	var tried []*Endpoint
	for range 3 {
		tried = append(tried, p.Pick(tried))
	}
	if tried[2] == nil || tried[2].Address() != at(1) {
		t.Errorf("the ejected one was not tried last: %v", tried)
	}
}

func TestRetriesGoByWeight(t *testing.T) {
	instances := some(3)
	instances[1].Weight = 9
	p, _ := poolOf(capability.Upstream{}, Options{}, instances...)
	tried := []*Endpoint{p.the(t, at(0))}
	heavy := 0
	for range 20_000 {
		if p.Pick(tried).Address() == at(1) {
			heavy++
		}
	}
	if !near(float64(heavy)/20_000, 0.9, 0.015) {
		t.Errorf("the heavy one got %d of 20000", heavy)
	}
}

func TestThePickIsReproducible(t *testing.T) {
	run := func() (all string) {
		r := rand.New(rand.NewPCG(1, 2))
		p, _ := poolOf(capability.Upstream{}, Options{Rand: r.Uint64N}, some(20)...)
		for range 50 {
			all += p.Pick(nil).Address() + " "
		}
		return all
	}
	if a, b := run(), run(); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	for _, n := range []int{1, 2, 64, 1_000} {
		p, _ := poolOf(capability.Upstream{}, Options{}, some(n)...)
		var tried []*Endpoint
		if n > 1 {
			tried = append(tried, p.the(t, at(1)))
		}
		if got := testing.AllocsPerRun(100, func() { p.Pick(nil); p.Pick(tried) }); got != 0 {
			t.Errorf("%d endpoints: %v allocations", n, got)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 3, 50, 1_000} {
		for _, kind := range []string{"same weight", "weights"} {
			b.Run(fmt.Sprintf("%d %s", n, kind), func(b *testing.B) {
				instances := some(n)
				if kind == "weights" {
					for i := range instances {
						instances[i].Weight = 1 + i%5
					}
				}
				p, _ := poolOf(capability.Upstream{}, Options{}, instances...)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						e := p.Pick(nil)
						e.Begin()
						e.End(OK, "")
					}
				})
			})
		}
	}
}
