package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// shape is the matrix's second axis: the kinds of request that a fault meets.
type shape struct {
	name, method string
	read         bool // by its class
	path         string
	body         int  // bytes
	chunked      bool // does not say how long the body is
	key          bool // says that it may be repeated, which not everybody is to believe
}

var shapes = []shape{
	{name: "GET", method: http.MethodGet, read: true},
	{name: "POST that reads", method: http.MethodPost, read: true, path: "search/", body: 1 << 10},
	{name: "POST without a body", method: http.MethodPost},
	{name: "PUT", method: http.MethodPut, body: 64 << 10},
	{name: "PUT in chunks", method: http.MethodPut, body: 64 << 10, chunked: true},
	{name: "DELETE", method: http.MethodDelete},
	{name: "POST with a key", method: http.MethodPost, key: true},
}

// The third axis is the capability: one that gives up, and one that tries again and falls back.
const (
	faultsTimeout = 2 * time.Second
	slowTimeout   = 4 * time.Second // above the second between two bytes, below the time that all of them take
)

// matrix runs every fault against every shape.
type matrix struct {
	traffic   *traffic
	account   *account
	ledger    *ledger
	strangler *strangler
	active    atomic.Pointer[string]
	number    atomic.Int64
	done      atomic.Int64 // faults
}

// now names the fault that is being tried.
func (m *matrix) now() string {
	if name := m.active.Load(); name != nil {
		return *name
	}
	return ""
}

// run goes through the faults in turn, with all shapes of one at once. With a stride, some faults are left out.
func (m *matrix) run(ctx context.Context, stride int) {
	defer m.active.Store(nil)
	for _, s := range []shape{shapes[0], shapes[3]} {
		name := "opening the breaker by " + s.name
		m.active.Store(&name)
		if err := m.open(ctx, s); err != nil && ctx.Err() == nil {
			m.account.found("breaker", name, err)
		}
	}
	all := faults
	if m.traffic.options.h2c {
		all = slices.Concat(faults, streamFaults)
	}
	for n := 0; n < len(all) && ctx.Err() == nil; n += stride {
		f := all[n]
		m.active.Store(&f.name)
		before, err := m.strangler.breakers(ctx)
		if err != nil && ctx.Err() == nil {
			m.account.found("breaker", f.name, err)
		}
		hear := map[string]counts{}
		var trials sync.WaitGroup
		for at, s := range shapes {
			for _, falls := range []bool{false, true} {
				for _, h2 := range []bool{false, true} {
					if h2 && !m.traffic.options.h2c {
						continue
					}
					warm := (at%2 == 0) != falls // half of them meet the fault on a connection that has been used before
					one := trial{f, s, falls, h2, warm && !f.refuses}
					hear[one.capability()] = hear[one.capability()].plus(one.hears())
					if f.alone {
						m.one(ctx, one)
						continue
					}
					trials.Go(func() { m.one(ctx, one) })
				}
			}
		}
		trials.Wait()
		m.heard(ctx, f, before, hear)
		m.done.Add(1)
	}
}

// heard compares what the breakers have heard of a fault's trials with what they had to hear.
func (m *matrix) heard(ctx context.Context, f fault, before, hear map[string]counts) {
	after, err := m.strangler.breakers(ctx)
	if err != nil {
		if ctx.Err() == nil {
			m.account.found("breaker", f.name, err)
		}
		return
	}
	for name, want := range hear {
		if err := counted(name, before[name], after[name], want); err != nil && ctx.Err() == nil {
			m.account.found("breaker", f.name, err)
		}
	}
}

// trial is one cell of the matrix.
type trial struct {
	fault
	shape
	falls bool // the capability retries and falls back
	h2    bool // the client speaks HTTP/2
	warm  bool // the proxy has a used connection to the upstream
}

func (c trial) String() string {
	name := fmt.Sprintf("%s: %s", c.fault.name, c.shape.name)
	if c.falls {
		name += ", falling back"
	}
	if c.warm {
		name += ", on a used connection"
	}
	return name
}

// capability is the one that has the fault's upstream.
func (c trial) capability() string {
	name := "failing"
	switch {
	case c.refuses:
		name = "refusing"
	case c.stream != nil:
		name = "breaking"
	}
	if c.falls {
		name += "-mended"
	}
	return name
}

func (c trial) target() string {
	path := "/" + c.capability() + "/" + c.path
	if c.slow {
		path += "slow/"
	}
	return path + "echo?at=0&size=5"
}

// mended says that a read gets the monolith's answer. One with a body only where nothing of it was sent.
func (c trial) mended() bool {
	return c.falls && c.stands && c.shape.read && (c.refuses || c.body == 0)
}

// want is what the client must get.
func (c trial) want() outcome {
	switch {
	case !c.shape.read:
		return c.fault.write
	case c.mended():
		return outcome{status: http.StatusOK}
	}
	return c.fault.read
}

// wantArrivals is where the request must come, and how often. A write comes once, or never where nobody takes it; a read
// that is mended is retried once, and then goes to the monolith.
func (c trial) wantArrivals() arrivals {
	switch {
	case c.mended() && c.refuses:
		return arrivals{legacy: 1}
	case c.mended():
		return arrivals{failing: 2, legacy: 1}
	case c.refuses:
		return arrivals{}
	}
	return arrivals{failing: 1}
}

func (m *matrix) one(ctx context.Context, c trial) {
	id := fmt.Sprintf("%s%d", matrixMark, m.number.Add(1))
	kind := "fault"
	if c.h2 {
		kind = "h2-fault"
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	started := time.Now()
	var err error
	if c.warm {
		err = m.warm(ctx, c)
	}
	if err == nil {
		err = m.exchange(ctx, c, id)
	}
	if err == nil {
		err = expect("arrivals {failing legacy}", c.wantArrivals(), m.ledger.of(id))
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // told to stop
	}
	m.account.count(kind, id+" "+c.String(), time.Since(started), err)
}

// warm has a request answered well, so that the proxy has a connection to use again.
func (m *matrix) warm(ctx context.Context, c trial) error {
	r := m.traffic.request(ctx, &call{id: "warm", user: "warm"}, http.MethodGet, c.target(), nil)
	res, err := m.traffic.h1.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return errors.Join(err, expect("warm up:", "well\n", string(text)))
}

// exchange sends one request and compares what comes back.
func (m *matrix) exchange(ctx context.Context, c trial, id string) error {
	var body io.Reader
	size := c.body
	if c.early && size > 0 {
		size = most // more than fits into the buffers on its way
	}
	if size > 0 {
		body = strings.NewReader(strings.Repeat("x", size))
		if c.chunked {
			body = io.MultiReader(body)
		}
	}
	r := m.traffic.request(ctx, &call{id: id, user: id}, c.method, c.target(), body)
	r.Header.Set(headerFault, c.fault.name)
	if c.key {
		r.Header.Set("Idempotency-Key", id)
	}
	want := c.want()
	by := m.traffic.alone
	if c.h2 {
		by = m.traffic.h2.RoundTrip
	}
	res, err := by(r)
	switch {
	case err != nil && want.broken && ctx.Err() == nil:
		return nil // what little there was of the answer had not been sent on; the client knows that it has nothing
	case err != nil:
		return mismatch{want.String(), err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	got := outcome{status: res.StatusCode, broken: err != nil}
	if want.body != "" {
		got.body = string(text)
	}
	if want != got {
		return mismatch{want.String(), fmt.Sprintf("%s: %.200s (%v)", got, text, err)}
	}
	return nil
}
