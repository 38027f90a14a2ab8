package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// breaking is the upstream of the matrix that speaks HTTP/2, where a fault is one of a stream: its neighbours on the same
// connection go on.
type breaking struct {
	ledger *ledger
	faults map[string]fault
}

func newBreaking(ledger *ledger) *breaking {
	b := &breaking{ledger: ledger, faults: map[string]fault{}}
	for _, f := range streamFaults {
		b.faults[f.name] = f
	}
	return b
}

func (b *breaking) at(*server) http.Handler { return http.HandlerFunc(b.answer) }

func (b *breaking) answer(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(headerID)
	b.ledger.enter(id, true)
	w.Header().Set(headerID, id)
	f, known := b.faults[r.Header.Get(headerFault)]
	if !known || !f.early {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler) // the proxy gave up; the client says why
		}
	}
	if !known {
		_, _ = io.WriteString(w, "well\n") // the client compares
		return
	}
	f.stream(w, r)
}

// piecemeal announces ten bytes and sends some.
func piecemeal(w http.ResponseWriter, bytes int) {
	w.Header().Set("Content-Length", "10")
	_, _ = io.WriteString(w, "0123456789"[:bytes]) // the client compares
	_ = http.NewResponseController(w).Flush()      // as above
}

// untilGone waits for the proxy to give the stream up.
func untilGone(r *http.Request) { <-r.Context().Done() }

// streamFaults are those of single HTTP/2 streams. What concerns connections is in faults; connections to such an
// upstream are made, and refused, in the same way.
var streamFaults = []fault{
	{name: "h2 stalls", stream: func(_ http.ResponseWriter, r *http.Request) { untilGone(r) }, read: timedOut, write: timedOut},
	{name: "h2 stalls in the body", stream: func(w http.ResponseWriter, r *http.Request) { piecemeal(w, 5); untilGone(r) }, read: broken, write: broken},
	{name: "h2 resets at once", stream: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, read: bad, write: bad, stands: true},
	{name: "h2 resets in the body", stream: func(w http.ResponseWriter, _ *http.Request) { piecemeal(w, 5); panic(http.ErrAbortHandler) }, read: broken, write: broken},
	{name: "h2 ends too early", stream: func(w http.ResponseWriter, _ *http.Request) { piecemeal(w, 5) }, read: broken, write: broken},
	{name: "h2 answers early", early: true, stream: func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}, read: tooLarge, write: tooLarge},
	// The server says that it will go, and ends what it has begun. Each answer ends its connection: side by side, requests
	// could be turned away from one new connection after another.
	{name: "h2 goes away", alone: true, stream: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // net/http makes a GOAWAY of it
		piecemeal(w, 10)
	}, read: whole, write: whole},
	{name: "h2 a byte a second", slow: true, stream: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len("0123456789")))
		_, _ = io.WriteString(w, "01234")
		for n := 5; n < 10; n++ {
			_ = http.NewResponseController(w).Flush() // the client compares
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
			_, _ = fmt.Fprint(w, n) // as above
		}
	}, read: whole, write: broken},
}
