package limit

import (
	"context"
	"errors"
	"sync"
	"time"

	"strangler/capability"
)

// Why Bulkhead.Enter turns a request away, besides its client having gone.
var (
	ErrFull   = errors.New("too many requests are waiting for a place")
	ErrWaited = errors.New("no place became free in time")
)

// Bulkhead bounds how many requests are at one side at once. Those that find no
// place wait in a queue of bounded length for a bounded time, first come, first
// served. A nil Bulkhead bounds nothing.
//
// Nobody waits while a place is free: whatever frees places hands them on under the
// same lock, so that a newcomer cannot overtake. It starts no goroutine.
type Bulkhead struct {
	mu       sync.Mutex
	places   int
	length   int // of the queue, at most
	wait     time.Duration
	inFlight int
	queue    queue
	refused  Refused
}

// Refused counts requests that were turned away, since the Bulkhead was made.
type Refused struct {
	Full   uint64 // the queue was full
	Waited uint64 // waited in vain
	Gone   uint64 // the client went away while it waited
}

// Info is a bulkhead as it is now. InFlight is above Limit for a while after the
// limit was lowered.
type Info struct {
	InFlight, Queued, Limit int
	Refused                 Refused
}

// NewBulkhead makes a bulkhead. What is zero takes its default: 1,000 places, 100
// that wait, for 1 s. A negative queue or wait is none.
func NewBulkhead(c capability.Concurrency) *Bulkhead {
	b := &Bulkhead{}
	b.Use(c)
	return b
}

// Use takes new settings and keeps what is in flight and who waits. If fewer
// places are left than are taken, nobody is let in until enough have left; if there
// are more, those who wait take them. Whoever waits already keeps the wait and the
// place in the queue that it had.
func (b *Bulkhead) Use(c capability.Concurrency) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places, b.length, b.wait = c.Requests, c.Queue, c.Wait
	if b.places <= 0 {
		b.places = 1000
	}
	if b.length == 0 {
		b.length = 100
	}
	if b.wait == 0 {
		b.wait = time.Second
	}
	b.handOn()
}

// Enter takes a place, which the caller gives back with Leave, once. It blocks
// while it waits for one, and returns ErrFull, ErrWaited or the error of the
// context: then there is nothing to give back. If a place is free it does not look
// at the context.
func (b *Bulkhead) Enter(ctx context.Context) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	if b.inFlight < b.places {
		b.inFlight++
		b.mu.Unlock()
		return nil
	}
	if b.queue.length >= b.length {
		b.refused.Full++
		b.mu.Unlock()
		return ErrFull
	}
	w, wait := &waiter{ready: make(chan struct{})}, b.wait
	b.queue.push(w)
	b.mu.Unlock()
	return b.await(ctx, w, wait)
}

// await waits for the place that w is handed.
func (b *Bulkhead) await(ctx context.Context, w *waiter, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.ready:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := ctx.Err()
	switch {
	case w.queued:
		b.queue.remove(w)
	case gone == nil:
		return nil // a place came together with the end of the wait
	default:
		b.inFlight--
		b.handOn() // it came too late for this client
	}
	if gone != nil {
		b.refused.Gone++
		return gone
	}
	b.refused.Waited++
	return ErrWaited
}

// Leave gives back the place of one successful Enter. It does not block, and
// panics when there is no place to give back.
func (b *Bulkhead) Leave() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inFlight == 0 {
		panic("limit: Leave without Enter")
	}
	b.inFlight--
	if b.queue.first != nil {
		b.handOn()
	}
}

// handOn gives free places to those who have waited longest. mu is held.
func (b *Bulkhead) handOn() {
	for b.inFlight < b.places && b.queue.first != nil {
		w := b.queue.first
		b.queue.remove(w)
		b.inFlight++
		close(w.ready)
	}
}

// Info says how the bulkhead is; of a nil one it is zero.
func (b *Bulkhead) Info() Info {
	if b == nil {
		return Info{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return Info{InFlight: b.inFlight, Queued: b.queue.length, Limit: b.places, Refused: b.refused}
}
