package proxy

import (
	"container/list"
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"strangler/capability"
)

// HoldLimits bound what may wait while a capability has no owner.
type HoldLimits struct {
	Requests int           // waiting at once, per capability; so many again that ask for a stream
	Bytes    int64         // sum of their announced bodies, which stay unread
	Age      time.Duration // of one request
	Grace    time.Duration // of a stream that is drained
	Release  int           // let through a second when the owner is known; see pace. 0: all at once
}

// beat is how often held writes are let through that wait for time to pass.
const beat = 5 * time.Millisecond

// The new owner answers the first of its writes slowly: its sessions have to learn the
// tables anew, and all that are asked at once learn at once. So few go first, and each
// answer lets others follow: the window of those without an answer grows by one with
// every fourth, which is by a quarter in the time of one. (Slow start, as of TCP, RFC
// 5681, with a smaller step.) Where answers take long, time lets more and more through, and
// after a second all that it allows.
const (
	firstWindow = 4
	windowGrows = 4
)

// pace is how many held writes may have been let through when the owner has been known
// for that time and so many of them have their answer. At most it is what 20 ms allow at
// once, then Release a second, and twice as many in each second that follows: so the
// queue ends however many come meanwhile.
func (l HoldLimits) pace(since time.Duration, answered int) int {
	if l.Release == 0 {
		return math.MaxInt
	}
	whole := min(int(since/time.Second), 30)
	passed := float64(int(1)<<whole-1) + float64(int(1)<<whole)*min(1, (since-time.Duration(whole)*time.Second).Seconds())
	timed := passed * float64(l.Release)
	window := answered + firstWindow + answered/windowGrows
	return min(max(1, l.Release/50)+int(timed), max(window, int(timed*min(1, since.Seconds()))))
}

var (
	errHoldFull    = errors.New("too many writes are waiting for a new owner")
	errHoldExpired = errors.New("no owner was found within the age of a held write")
	errClientGone  = errors.New("the client went away")
)

// writeKey names a kind of write without building a string for each.
type writeKey struct{ method, route string }

// hold admits the writes of one capability: it counts them while they are in
// flight, and parks them while the owner changes.
//
// Counting and deciding happen under one lock with the effective state that
// they depend on. So a write that was let through to the old owner is in the
// count before anybody can be told that this proxy holds, and the owner a
// write goes to is the one of the very state that let it through.
type hold struct {
	limits HoldLimits

	mu        sync.Mutex
	effective capability.Effective     // guarded by mu
	known     bool                     // guarded by mu; effective was set
	queue     list.List                // guarded by mu; of *heldWrite, oldest first
	bytes     int64                    // guarded by mu; announced by the queue
	writes    int                      // guarded by mu; in flight
	routes    map[writeKey]int         // guarded by mu; the same by route
	rule      capability.Streams       // guarded by mu; what becomes of streams
	streams   map[*openStream]struct{} // guarded by mu; those that are open
	waiting   int                      // guarded by mu; of the queue, who asks for a stream
	opened    time.Time                // guarded by mu; when the last hold ended
	released  int                      // guarded by mu; writes that have been let through since
	answered  int                      // guarded by mu; writes that have ended since, or have become streams
	releasing bool                     // guarded by mu; somebody lets the rest through
	changed   chan struct{}            // guarded by mu; closed at the next change, nil while nobody watches
}

// heldWrite waits for admitted, which gets one state when the hold ends.
type heldWrite struct {
	key      writeKey
	bytes    int64
	stream   bool // it asks for a stream
	admitted chan capability.Effective
}

func newHold(limits HoldLimits) *hold {
	return &hold{limits: limits, routes: map[writeKey]int{}, streams: map[*openStream]struct{}{}}
}

// enter returns the state that the write is to be routed by, after waiting for
// the phase to be Steady. The caller calls leave exactly once after a nil error.
// On an error the write has touched nothing.
func (h *hold) enter(ctx context.Context, key writeKey, announced int64) (capability.Effective, error) {
	return h.pass(ctx, key, announced, false)
}

// pass is enter, also for what asks for a stream. Clients that were cut off all come back
// at once: they must not take the places of writes.
func (h *hold) pass(ctx context.Context, key writeKey, announced int64, stream bool) (capability.Effective, error) {
	h.mu.Lock()
	announced = max(announced, 0)
	alike := h.waiting
	if !stream {
		alike = h.queue.Len() - h.waiting
	}
	switching, full := h.effective.Phase == capability.Switching, alike >= h.limits.Requests || h.bytes+announced > h.limits.Bytes
	if !switching && (h.queue.Len() == 0 || full) { // nobody was here before; and none is refused once there is an owner
		h.count(key)
		e := h.effective
		h.mu.Unlock()
		return e, nil
	}
	if full {
		h.mu.Unlock()
		return capability.Effective{}, errHoldFull
	}
	w := &heldWrite{key: key, bytes: announced, stream: stream, admitted: make(chan capability.Effective, 1)}
	place := h.queue.PushBack(w)
	h.bytes += announced
	if stream {
		h.waiting++
	}
	h.broadcast()
	h.mu.Unlock()

	timer := time.NewTimer(h.limits.Age)
	defer timer.Stop()
	select {
	case e := <-w.admitted:
		return e, nil
	case <-timer.C:
		return h.abandon(place, errHoldExpired)
	case <-ctx.Done():
		return h.abandon(place, errClientGone)
	}
}

// abandon gives up a place in the queue. A write that was admitted in the same
// moment is in flight already: it goes on, unless its client is gone.
func (h *hold) abandon(place *list.Element, why error) (capability.Effective, error) {
	w := place.Value.(*heldWrite)
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case e := <-w.admitted:
		if errors.Is(why, errClientGone) {
			h.uncount(w.key)
			return capability.Effective{}, why
		}
		return e, nil
	default:
	}
	h.unqueue(place)
	h.broadcast()
	if h.effective.Phase != capability.Switching && errors.Is(why, errHoldExpired) {
		h.count(w.key)
		return h.effective, nil // its owner is known
	}
	return capability.Effective{}, why
}

// leave ends a write that enter has let through.
func (h *hold) leave(key writeKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uncount(key)
	if h.releasing && h.effective.Phase != capability.Switching {
		h.admit() // what is left, and that nothing is, the beat finds
	}
}

// set takes over a state, unless it is older than the one that is served, and
// reports whether it did. When the phase becomes Steady the held writes are let
// through, oldest first, at a bounded rate, and those that come meanwhile behind
// them; when it becomes Switching, streams that have to go are told.
func (h *hold) set(e capability.Effective) bool {
	ending, rule, taken := h.take(e)
	for _, s := range ending {
		s.end(rule)
	}
	return taken
}

func (h *hold) take(e capability.Effective) (ending []*openStream, rule capability.Streams, taken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known && e.Revision <= h.effective.Revision {
		return nil, "", false
	}
	before := h.effective
	h.effective, h.known = e, true
	if e.Phase != capability.Switching {
		if before.Phase == capability.Switching {
			h.opened, h.released, h.answered = time.Now(), 0, 0
		}
		if h.admit() && !h.releasing {
			h.releasing = true
			go h.release()
		}
	}
	ending = h.ending(before)
	h.broadcast()
	return ending, h.rule, true
}

// admit lets through what may be by now, and reports whether any are left. Called with
// mu held.
func (h *hold) admit() (left bool) {
	for h.queue.Len() > 0 && h.released < h.limits.pace(time.Since(h.opened), h.answered) {
		w := h.unqueue(h.queue.Front())
		h.count(w.key)
		h.released++
		w.admitted <- h.effective
	}
	return h.queue.Len() > 0
}

// release lets the queue through until it is empty, or held again.
func (h *hold) release() {
	for {
		time.Sleep(beat)
		h.mu.Lock()
		if h.effective.Phase == capability.Switching || !h.admit() {
			h.releasing = false
			h.broadcast()
			h.mu.Unlock()
			return
		}
		h.broadcast()
		h.mu.Unlock()
	}
}

// unqueue is called with mu held.
func (h *hold) unqueue(place *list.Element) *heldWrite {
	w := h.queue.Remove(place).(*heldWrite)
	h.bytes -= w.bytes
	if w.stream {
		h.waiting--
	}
	return w
}

// state returns the state that writes are admitted by.
func (h *hold) state() capability.Effective {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.effective
}

// serving describes the hold, and returns a channel that is closed when that
// description may have changed.
func (h *hold) serving() (capability.Serving, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := capability.Serving{
		Capability: h.effective.Capability,
		Revision:   h.effective.Revision,
		Epoch:      h.effective.Epoch,
		Holding:    h.effective.Phase == capability.Switching,
		Held:       h.queue.Len(),
		Writes:     h.writes,
	}
	for key, n := range h.routes {
		if s.Routes == nil {
			s.Routes = make(map[string]int, len(h.routes))
		}
		s.Routes[key.method+" "+key.route] = n
	}
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return s, h.changed
}

// count and uncount are called with mu held.
func (h *hold) count(key writeKey) {
	h.writes++
	h.routes[key]++
}

func (h *hold) uncount(key writeKey) {
	h.writes--
	h.answered++
	if h.routes[key]--; h.routes[key] == 0 {
		delete(h.routes, key)
	}
	if h.writes == 0 {
		h.broadcast()
	}
}

// broadcast is called with mu held.
func (h *hold) broadcast() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}
