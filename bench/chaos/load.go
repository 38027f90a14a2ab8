package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	clients    = 64 // half of them at each proxy
	answerTime = 12 * time.Second
	dueMost    = 1 << 14 // requests that may be due while all clients wait for answers
)

// operation is one request and what became of it.
type operation struct {
	client     int
	via        int // proxy
	order      int
	id         string    // of a write; empty: a read
	value      int64     // of a write
	due        time.Time // when it should have been sent
	start, end time.Time
	ok         bool
	answer     answer
	kind       string // of the error
	said       string
}

// load is the clients, and the record of what they have sent and been answered. It is kept outside of everything that is
// tested.
type load struct {
	proxies []string
	client  *http.Client
	stop    context.CancelFunc
	running sync.WaitGroup
	rest    sync.RWMutex // read-locked while a request is under way
	resting atomic.Bool  // nothing is due

	mu      sync.Mutex
	value   int64
	record  []operation // since the last look. Guarded by mu
	written int         // acknowledged. Guarded by mu
	read    int
	errors  map[string]int
}

func newLoad(proxies []string) *load {
	return &load{proxies: proxies, errors: map[string]int{}, client: &http.Client{Timeout: answerTime,
		// A request is sent once: the client repeats a POST only when nothing of it was written.
		Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
}

// start sends so many requests a second, three of four writes, on a schedule that waits for no answer, until close.
func (l *load) start(ctx context.Context, rate int, seed uint64) {
	ctx, l.stop = context.WithCancel(ctx)
	every := time.Second / time.Duration(rate)
	work := make(chan time.Time, dueMost)
	l.running.Go(func() {
		defer close(work)
		tick := time.NewTicker(every)
		defer tick.Stop()
		due := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				// The clock is the schedule: a busy machine lets ticks go.
				for ; due.Before(now); due = due.Add(every) {
					if l.resting.Load() {
						continue
					}
					select {
					case work <- due:
					default:
						l.note(operation{due: due, start: due, end: now, kind: "not sent"})
					}
				}
			}
		}
	})
	for n := range clients {
		r := rand.New(rand.NewPCG(seed, uint64(n)+10)) //nolint:gosec // a small number
		l.running.Go(func() {
			for due := range work {
				o := operation{due: due, client: n, via: n % len(l.proxies), order: 1 + r.IntN(orders)}
				if r.IntN(4) > 0 {
					o.value = l.next()
					o.id = fmt.Sprintf("w%d", o.value)
				}
				l.rest.RLock()
				if ctx.Err() == nil {
					l.note(l.send(ctx, o))
				}
				l.rest.RUnlock()
			}
		})
	}
}

// pause waits until no request is under way and lets none begin before resume.
func (l *load) pause() {
	l.resting.Store(true)
	l.rest.Lock()
}

func (l *load) resume() {
	l.rest.Unlock()
	l.resting.Store(false)
}

func (l *load) close() {
	l.stop()
	l.running.Wait()
}

func (l *load) next() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value++
	return l.value
}

// send sends one request.
func (l *load) send(ctx context.Context, o operation) (done operation) {
	method, url := http.MethodGet, fmt.Sprintf("%s/orders/%d", l.proxies[o.via], o.order)
	if o.id != "" {
		method, url = http.MethodPost, fmt.Sprintf("%s?write=%s&value=%d", url, o.id, o.value)
	}
	o.start = time.Now()
	defer func() { done.end = time.Now() }()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		o.kind, o.said = "no request", err.Error()
		return o
	}
	res, err := l.client.Do(r)
	if err != nil {
		o.kind, o.said = broken(err), err.Error()
		return o
	}
	defer res.Body.Close() //nolint:errcheck // it is read to its end
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	switch {
	case err != nil:
		o.kind, o.said = broken(err), err.Error()
	case res.StatusCode != http.StatusOK:
		o.kind, o.said = fmt.Sprint(res.StatusCode), strings.TrimSpace(string(text))
	default:
		if err := json.Unmarshal(text, &o.answer); err != nil {
			o.kind, o.said = "answer makes no sense", err.Error()
		} else {
			o.ok = true
		}
	}
	return o
}

// broken names what became of a request that was not answered.
func broken(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	default:
		return "broken connection"
	}
}

func (l *load) note(o operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record = append(l.record, o)
	switch {
	case !o.ok:
		l.errors[o.kind]++
	case o.id == "":
		l.read++
	default:
		l.written++
	}
}

// take returns what was recorded since the last time.
func (l *load) take() []operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.record
	l.record = nil
	return list
}

// look is take, and leaves the record there.
func (l *load) look() []operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]operation(nil), l.record...)
}

// account is what all of it comes to.
func (l *load) account() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := fmt.Sprintf("%d writes acknowledged, %d reads answered", l.written, l.read)
	if len(l.errors) > 0 {
		s += "; errors: " + kinds(l.errors)
	}
	return s
}

func kinds(counts map[string]int) string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d × %s", counts[kind], kind))
	}
	return strings.Join(list, ", ")
}
