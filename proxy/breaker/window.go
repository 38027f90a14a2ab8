package breaker

import "time"

// buckets is how many pieces a window rolls in: it covers between nine tenths and
// all of its length.
const buckets = 10

// counts are those of a window or of one piece of it.
type counts struct {
	done   int // answers that say something about the side
	failed int
	slow   int
}

// window counts answers over a rolling time. Times are since any fixed instant.
// It is guarded by its breaker.
type window struct {
	width time.Duration // of a piece
	head  int64         // number of the newest piece; piece n covers [n*width, (n+1)*width)
	total counts
	piece [buckets]counts // piece n is at n modulo buckets
}

func newWindow(length time.Duration) window {
	return window{width: max(length/buckets, 1)}
}

// add counts one answer at the given time.
func (w *window) add(at time.Duration, failed, slow bool) {
	w.roll(at)
	p := &w.piece[w.head%buckets]
	w.total.done++
	p.done++
	if failed {
		w.total.failed++
		p.failed++
	}
	if slow {
		w.total.slow++
		p.slow++
	}
}

// takeBack makes a failure of a success that was added at the time counted. Once
// that is forgotten, so is its failure: an endpoint that dies takes all its long
// answers along, and hundreds of old ones must not outvote the few of now. It
// reports whether it did.
func (w *window) takeBack(counted, at time.Duration) bool {
	w.roll(at)
	n := min(int64(counted/w.width), w.head)
	if w.head-n >= buckets {
		return false
	}
	w.total.failed++
	w.piece[n%buckets].failed++
	return true
}

// roll forgets what is too old at the given time. A time before the newest piece,
// read before the lock that another caller got first, is taken for that piece.
func (w *window) roll(at time.Duration) {
	now := int64(at / w.width)
	if now <= w.head {
		return
	}
	if now-w.head >= buckets {
		w.clear()
		w.head = now
		return
	}
	for w.head < now {
		w.head++
		p := &w.piece[w.head%buckets]
		w.total.done -= p.done
		w.total.failed -= p.failed
		w.total.slow -= p.slow
		*p = counts{}
	}
}

func (w *window) clear() {
	w.total = counts{}
	w.piece = [buckets]counts{}
}

// forgetSlow drops the slow answers only: they were measured by another threshold.
func (w *window) forgetSlow() {
	w.total.slow = 0
	for i := range w.piece {
		w.piece[i].slow = 0
	}
}

// resized is a window of another length that still counts what w counted within
// it. Pieces move whole, by the time at which they begin, so that a shorter window
// may forget a tenth of w too early.
func (w *window) resized(length, at time.Duration) window {
	w.roll(at)
	next := newWindow(length)
	next.head = int64(at / next.width)
	for n := max(w.head-buckets+1, 0); n <= w.head; n++ {
		p, to := w.piece[n%buckets], n*int64(w.width)/int64(next.width)
		if next.head-to >= buckets {
			continue
		}
		q := &next.piece[min(to, next.head)%buckets]
		for _, c := range []*counts{q, &next.total} {
			c.done += p.done
			c.failed += p.failed
			c.slow += p.slow
		}
	}
	return next
}
