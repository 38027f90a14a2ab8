package pool

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// load lets clients send one request after the other for a time, and returns what
// part of them each endpoint got. Answers take as long as is said, give or take a
// half, or clients would march in step. It runs in a bubble, so that the time is
// exact.
func load(p *Pool, clients int, lasts time.Duration, takes func(*Endpoint) time.Duration) map[string]float64 {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got, all := map[string]float64{}, 0.0
	end := time.Now().Add(lasts)
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				e := p.Pick(nil)
				e.Begin()
				mu.Lock()
				got[e.Address()]++
				all++
				mu.Unlock()
				mean := takes(e)
				time.Sleep(mean/2 + time.Duration(p.rand(uint64(mean))))
				e.End(OK, "")
			}
		})
	}
	wg.Wait()
	for address := range got {
		got[address] /= all
	}
	return got
}

func tenMilliseconds(*Endpoint) time.Duration { return 10 * time.Millisecond }

// How busy one is may not outweigh the weights, least of all where there are fewer
// requests than weight. A light one gets a little less than its share where a single
// request is more than that.
func TestWeightsUnderLoad(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {1, 3}, {1, 99}, {1, 99, 99}, {5, 3, 2}, {100, 50, 100}} {
		sum := 0
		for _, w := range weights {
			sum += w
		}
		for _, clients := range []int{1, 2, 4, 8, 32} {
			t.Run(fmt.Sprint(weights, clients), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					instances := some(len(weights))
					for i, w := range weights {
						instances[i].Weight = w
					}
					p, _ := poolOf(capability.Upstream{}, Options{}, instances...)
					got := load(p, clients, 3*time.Minute/time.Duration(clients), tenMilliseconds)
					for i, w := range weights {
						want := float64(w) / float64(sum)
						if !near(got[at(i)], want, 0.25*want+0.001) {
							t.Errorf("weight %d got %.2f %% of the requests, want about %.2f %%", w, 100*got[at(i)], 100*want)
						}
					}
				})
			})
		}
	}
}

// A slower one gets less, as soon as there are two clients: one has nothing in
// flight when it chooses.
func TestASlowerEndpointGetsLess(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {50, 50}, {2, 3}, {10, 10, 10}} {
		for _, clients := range []int{2, 4, 8, 32} {
			t.Run(fmt.Sprint(weights, clients), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					instances, sum := some(len(weights)), 0
					for i, w := range weights {
						instances[i].Weight = w
						sum += w
					}
					p, _ := poolOf(capability.Upstream{}, Options{}, instances...)
					got := load(p, clients, time.Minute, func(e *Endpoint) time.Duration {
						if e.Address() == at(0) {
							return 100 * time.Millisecond
						}
						return 10 * time.Millisecond
					})
					if fair := float64(weights[0]) / float64(sum); got[at(0)] > 0.75*fair {
						t.Errorf("it got %.1f %%, and its weight says %.1f %%", 100*got[at(0)], 100*fair)
					}
				})
			})
		}
	}
}

func TestTheFirstSecondOfASlowStart(t *testing.T) {
	for _, clients := range []int{1, 2, 4, 8, 32} {
		t.Run(fmt.Sprint(clients), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, r := poolOf(capability.Upstream{SlowStart: 10 * time.Second}, Options{}, some(1)...)
				p.Pick(nil)
				sum := 0.0
				const times = 30
				for n := range times {
					r.set(some(1)[0], capability.Instance{Address: at(n + 1)})
					sum += load(p, clients, time.Second, tenMilliseconds)[at(n+1)]
				}
				// Its share is 10 to 19 % of the other's.
				if mean := sum / times; !near(mean, 0.115, 0.035) {
					t.Errorf("the new one got %.1f %% of the first second", 100*mean)
				}
			})
		})
	}
}
