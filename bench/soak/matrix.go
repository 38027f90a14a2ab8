package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
}

var shapes = []shape{
	{name: "GET", method: http.MethodGet, read: true},
	{name: "POST that reads", method: http.MethodPost, read: true, path: "search/", body: 1 << 10},
	{name: "POST without a body", method: http.MethodPost},
	{name: "PUT", method: http.MethodPut, body: 64 << 10},
	{name: "PUT in chunks", method: http.MethodPut, body: 64 << 10, chunked: true},
	{name: "DELETE", method: http.MethodDelete},
}

// The third axis is the capability: one that gives up, and one that tries again and falls back.
const (
	faultsTimeout = 2 * time.Second
	slowTimeout   = 4 * time.Second // above the second between two bytes, below the time that all of them take
)

// matrix runs every fault against every shape.
type matrix struct {
	traffic *traffic
	account *account
	ledger  *ledger
	active  atomic.Pointer[string]
	number  atomic.Int64
	done    atomic.Int64 // faults
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
	for n := 0; n < len(faults) && ctx.Err() == nil; n += stride {
		f := faults[n]
		m.active.Store(&f.name)
		var all sync.WaitGroup
		for _, s := range shapes {
			for _, falls := range []bool{false, true} {
				for _, h2 := range []bool{false, true} {
					if h2 && !m.traffic.options.h2c {
						continue
					}
					all.Go(func() { m.one(ctx, f, s, falls, h2) })
				}
			}
		}
		all.Wait()
		m.done.Add(1)
	}
}

func (m *matrix) one(ctx context.Context, f fault, s shape, falls, h2 bool) {
	id := fmt.Sprintf("%s%d", matrixMark, m.number.Add(1))
	kind := "fault"
	if h2 {
		kind = "h2-fault"
	}
	name := fmt.Sprintf("%s: %s", f.name, s.name)
	if falls {
		name += ", falling back"
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	started := time.Now()
	err := m.exchange(ctx, f, s, falls, h2, id)
	if err == nil {
		err = m.arrived(f, s, falls, id)
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // told to stop
	}
	m.account.count(kind, id+" "+name, time.Since(started), err)
}

func target(f fault, s shape, falls bool) string {
	capability := "failing"
	switch {
	case f.refuses && falls:
		capability = "refusing-mended"
	case f.refuses:
		capability = "refusing"
	case falls:
		capability = "failing-mended"
	}
	path := "/" + capability + "/" + s.path
	if f.slow {
		path += "slow/"
	}
	return path + "echo?at=0&size=5"
}

// exchange sends one request and compares what comes back. The request goes over a connection of its own, because
// net/http sends some requests again by itself when a kept one turns out dead.
func (m *matrix) exchange(ctx context.Context, f fault, s shape, falls, h2 bool, id string) error {
	var body io.Reader
	size := s.body
	if f.early && s.body > 0 {
		size = most // more than fits into the buffers on its way
	}
	if size > 0 {
		body = strings.NewReader(strings.Repeat("x", size))
		if s.chunked {
			body = io.MultiReader(body)
		}
	}
	c := &call{id: id, user: id}
	r := m.traffic.request(ctx, c, s.method, target(f, s, falls), body)
	r.Header.Set(headerFault, f.name)
	by := m.traffic.h2
	if !h2 {
		by = &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	}
	res, err := by.RoundTrip(r)
	if err != nil {
		return mismatch{f.want(s, falls).String(), err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	got := outcome{status: res.StatusCode, broken: err != nil}
	want := f.want(s, falls)
	if want.body != "" {
		got.body = string(text)
	}
	if want != got {
		return mismatch{want.String(), fmt.Sprintf("%s: %.200s (%v)", got, text, err)}
	}
	return nil
}

// want is the cell of the matrix.
func (f fault) want(s shape, falls bool) outcome {
	switch {
	case !s.read:
		return f.write
	case falls && f.stands && (f.refuses || s.body == 0):
		return outcome{status: http.StatusOK} // the monolith's
	}
	return f.read
}

// arrived holds the outcome against where the request came. A write comes once, or never where nobody takes it; a read
// that falls back may come to the failing upstream twice, and to the monolith once.
func (m *matrix) arrived(f fault, s shape, falls bool, id string) error {
	got := m.ledger.of(id)
	want := arrivals{failing: 1}
	if f.refuses {
		want.failing = 0
	}
	if falls && s.read && f.stands && (f.refuses || s.body == 0) {
		want.legacy = 1
		if !f.refuses {
			want.failing = 2 // it is retried once
		}
	}
	return expect("arrivals {failing legacy}", want, got)
}
