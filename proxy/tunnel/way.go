package tunnel

import (
	"io"
	"sync"
)

// way is one direction of a WebSocket that can be ended between two frames, with a
// close frame of ours.
type way struct {
	dst io.Writer

	mu      sync.Mutex
	frames  frames // of what was given to dst; guarded by mu
	writing bool   // guarded by mu; the copy is
	parting bool   // guarded by mu; it is to end with the frame that is under way
	parted  bool   // guarded by mu; it has: nothing more is copied, and the close frame is whose who set it
}

// begin returns what is to be written of p: nothing of it, or what belongs to the frame
// that is under way, once the direction is to end. A call of over follows.
func (w *way) begin(p []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.parted {
		return nil
	}
	w.writing = true
	return p[:w.frames.pass(p, w.parting)]
}

// over says that what begin returned was written.
func (w *way) over() {
	w.mu.Lock()
	w.writing = false
	ends := w.parting && !w.parted && w.atAnEnd()
	w.parted = w.parted || ends
	w.mu.Unlock()
	if ends {
		w.sayGoodbye()
	}
}

// announce says that the direction is to end. It comes before part, and for both of a
// WebSocket before either: who has been told goes, and what he was sending ends with him.
func (w *way) announce() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parting = true
}

// part ends the direction: now, or as soon as the frame that is under way has passed. It
// may block in a write.
func (w *way) part() {
	w.mu.Lock()
	ends := !w.parted && !w.writing && w.atAnEnd()
	w.parted = w.parted || ends
	w.mu.Unlock()
	if ends {
		w.sayGoodbye()
	}
}

// ended says that nothing more comes, and reports whether that is all there is to do,
// because the direction was to end anyway.
func (w *way) ended() bool {
	w.mu.Lock()
	parting, ends := w.parting, w.parting && !w.parted
	w.parted = w.parted || ends
	w.mu.Unlock()
	if ends {
		w.sayGoodbye()
	}
	return parting
}

// giveUp says that nothing can be written any more.
func (w *way) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parted = true
}

// atAnEnd is also true where there is nothing to wait for, because these are no frames.
// Called with mu held.
func (w *way) atAnEnd() bool { return w.frames.lost || w.frames.between() }

// sayGoodbye is called once, by whoever has set parted.
func (w *way) sayGoodbye() {
	w.mu.Lock()
	silent, masked := !w.frames.between() || w.frames.closed, w.frames.masked
	w.mu.Unlock()
	if !silent {
		if _, err := w.dst.Write(goingAway(masked)); err != nil {
			return // it is gone
		}
	}
	if half, ok := w.dst.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // else it hears of the end with that of the connection
	}
}
