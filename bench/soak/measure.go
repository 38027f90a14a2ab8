package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// reading is what the strangler holds while it has nothing to do.
type reading struct {
	Goroutines  int           `json:"goroutines"`
	Heap        int64         `json:"heap_bytes"` // after forced collections
	Descriptors int           `json:"descriptors"`
	Waited      time.Duration `json:"waited_ns"` // until nothing moved any more
}

const (
	collections = 3 // of which the second empties the pools, whose contents the first one only moves aside
	stillFor    = 3 * time.Second
	stillWithin = 60 * time.Second // above the half minute for which idle connections are kept
	// idleTimers is how long net/http holds on to an HTTP/2 connection that is closed: until the timer fires that would
	// have closed it for being idle.
	idleTimers = 31 * time.Second
)

// flicker is what comes and goes all the time: the strangler looks at its folders every second.
const flicker = 2

func apart(a, b int) int { return max(a-b, b-a) }

// What the readings may differ by. Goroutines and descriptors come and go with the strangler's own work: the connection
// of the very question, a document that is being looked at, a registration that is being renewed. A leak of one in ten
// thousand requests is above that. The heap may grow by a tenth; of a heap of 1.4 MiB, as
// a strangler with a dozen documents has, a tenth is less than a kept connection's buffers and what the profile of the first
// reading has left behind, hence the floor.
const (
	spareGoroutines  = 6
	spareDescriptors = 4
	heapFloor        = 256 << 10
)

// read takes the figures as they are, but for the heap's.
func (s *strangler) read(ctx context.Context) (reading, error) {
	text, err := s.ask(ctx, "/metrics")
	if err != nil {
		return reading{}, err
	}
	var r reading
	for name, into := range map[string]func(float64){
		"go_goroutines":    func(v float64) { r.Goroutines = int(v) },
		"process_open_fds": func(v float64) { r.Descriptors = int(v) },
	} {
		value, err := sample(text, name)
		if err != nil {
			return reading{}, err
		}
		into(value)
	}
	return r, nil
}

// sample finds the figure behind a name that begins a line, as series without labels have it in Prometheus's text format.
func sample(text []byte, name string) (float64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", name, err)
			}
			return v, nil
		}
	}
	return 0, fmt.Errorf("the metrics have no %s", name)
}

// settled waits until goroutines and descriptors do not move any more, and none of the figures is more than the reading it
// is compared with allows; then it reads. The caller has stopped the traffic and closed what was idle. What is still too much
// when the wait is over is read as it is. A first reading waits for the idle timers, which would make it too large.
func (s *strangler) settled(ctx context.Context, before *reading, least time.Duration) (reading, error) {
	began := time.Now()
	poll := time.NewTicker(250 * time.Millisecond)
	defer poll.Stop()
	var last reading
	for since := began; time.Since(began) < stillWithin; {
		now, err := s.read(ctx)
		if err != nil {
			return reading{}, err
		}
		if apart(now.Goroutines, last.Goroutines) > flicker || apart(now.Descriptors, last.Descriptors) > flicker {
			last, since = now, time.Now()
		}
		if time.Since(since) > stillFor && time.Since(began) > least {
			if now.Heap, err = s.collected(ctx); err != nil {
				return reading{}, err
			}
			if before == nil || len(now.leaks(*before))+len(now.grown(*before)) == 0 {
				break
			}
			since = time.Now()
		}
		select {
		case <-ctx.Done():
			return reading{}, context.Cause(ctx)
		case <-s.process.Done():
			return reading{}, errEnded
		case <-poll.C:
		}
	}
	waited := time.Since(began)
	heap, err := s.collected(ctx)
	if err != nil {
		return reading{}, err
	}
	r, err := s.read(ctx)
	r.Heap, r.Waited = heap, waited
	return r, errors.Join(err, s.keep(ctx, before))
}

// collected forces collections and returns the bytes of the heap after the last. The profile as text begins with the very
// figures that the metrics have, taken between the collection and the profile: what the profile and the metrics need
// themselves is a MiB and more of garbage, which grows with the number of places that have ever allocated.
func (s *strangler) collected(ctx context.Context) (int64, error) {
	var text []byte
	for range collections {
		var err error
		if text, err = s.ask(ctx, "/debug/pprof/heap?gc=1&debug=1"); err != nil {
			return 0, err
		}
	}
	heap, err := sample(text, "# HeapAlloc =")
	return int64(heap), err
}

// keep leaves the profiles beside the log, for whoever wants to know what has grown:
// go tool pprof -base heap-1.pb.gz heap-2.pb.gz.
func (s *strangler) keep(ctx context.Context, before *reading) error {
	which := "1"
	if before != nil {
		which = "2"
	}
	for path, name := range map[string]string{"heap": "heap-" + which + ".pb.gz", "goroutine?debug=2": "goroutines-" + which + ".txt"} {
		profile, err := s.ask(ctx, "/debug/pprof/"+path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(s.log), name), profile, 0o644); err != nil {
			return fmt.Errorf("keep a profile: %w", err)
		}
	}
	return nil
}

// leaks says what is more than before, beyond what may be; the heap is not among it.
func (r reading) leaks(before reading) []string {
	var all []string
	if r.Goroutines > before.Goroutines+spareGoroutines {
		all = append(all, fmt.Sprintf("%d goroutines, where there were %d at first", r.Goroutines, before.Goroutines))
	}
	if r.Descriptors > before.Descriptors+spareDescriptors {
		all = append(all, fmt.Sprintf("%d descriptors, where there were %d at first", r.Descriptors, before.Descriptors))
	}
	return all
}

// heapBound is by how much a heap may grow, and which of the two bounds that is.
func heapBound(before int64) (most int64, which string) {
	if tenth := before / 10; tenth > heapFloor {
		return tenth, "10 %"
	}
	return heapFloor, "the floor"
}

// grown says whether the heap is larger than before by more than may be.
func (r reading) grown(before reading) []string {
	if most, _ := heapBound(before.Heap); r.Heap > before.Heap+most {
		return []string{fmt.Sprintf("heap of %.2f MiB, where it was %.2f MiB at first: %s", mib(r.Heap), mib(before.Heap), r.growth(before))}
	}
	return nil
}

// growth puts the heap's into words, with the bound that held for it.
func (r reading) growth(before reading) string {
	most, which := heapBound(before.Heap)
	return fmt.Sprintf("%+.1f %%, bounded by %s, which is %.1f %% (%.2f MiB)", percent(r.Heap-before.Heap, before.Heap), which, percent(most, before.Heap), mib(most))
}

func percent(part, whole int64) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
