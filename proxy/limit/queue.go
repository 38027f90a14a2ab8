package limit

// waiter is one request that waits. Its links are guarded by the bulkhead.
type waiter struct {
	ready          chan struct{} // closed when it has a place
	queued         bool
	previous, next *waiter
}

// queue is a list whose elements leave from anywhere in constant time: a client
// that goes away must not cost a walk past everyone else who waits.
type queue struct {
	first, last *waiter
	length      int
}

func (q *queue) push(w *waiter) {
	w.queued, w.previous = true, q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.length++
}

// remove takes w out, which must be in.
func (q *queue) remove(w *waiter) {
	if w.previous == nil {
		q.first = w.next
	} else {
		w.previous.next = w.next
	}
	if w.next == nil {
		q.last = w.previous
	} else {
		w.next.previous = w.previous
	}
	w.queued, w.previous, w.next = false, nil, nil
	q.length--
}
