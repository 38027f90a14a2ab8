package edge

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// wire is a connection as it was accepted: below TLS, below any protocol. It
// gives back its place among the open ones when it closes, and sees to it that a
// client takes what is written to it.
type wire struct {
	net.Conn
	stall    time.Duration
	counters *counters
	closed   atomic.Bool
	free     atomic.Bool // upgraded: somebody else looks after it

	mu    sync.Mutex
	user  time.Time // guarded by mu; the write deadline that was asked for
	armed time.Time // guarded by mu; the one that is set, if by us
}

// Write gives up when the client takes nothing for WriteStall. Whatever it takes
// renews the wait: the kernel says how much of a write that timed out went out.
func (w *wire) Write(p []byte) (int, error) {
	if w.stall <= 0 || w.free.Load() {
		return w.Conn.Write(p)
	}
	done := 0
	for {
		if err := w.arm(); err != nil {
			return done, err
		}
		n, err := w.Conn.Write(p[done:])
		done += n
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || w.overdue() {
			return done, err
		}
		if n == 0 && !w.free.Load() {
			w.counters.stalls.Add(1)
			return done, err
		}
	}
}

// arm sets the deadline anew when an eighth of it has gone by: not for every write.
func (w *wire) arm() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.armed.Sub(now) > w.stall-w.stall/8 {
		return nil
	}
	deadline := now.Add(w.stall)
	if !w.user.IsZero() && w.user.Before(deadline) {
		deadline = w.user
	}
	w.armed = deadline
	return w.Conn.SetWriteDeadline(deadline)
}

// overdue reports whether the deadline that was asked for has passed.
func (w *wire) overdue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.user.IsZero() && !time.Now().Before(w.user)
}

// SetWriteDeadline is kept beside the deadline of the stall; the earlier one counts.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.user, w.armed = t, time.Time{}
	return w.Conn.SetWriteDeadline(t)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (w *wire) SetDeadline(t time.Time) error {
	return errors.Join(w.SetWriteDeadline(t), w.SetReadDeadline(t))
}

// CloseWrite ends our half of the connection.
func (w *wire) CloseWrite() error { return closeWrite(w.Conn) }

func (w *wire) Close() error {
	err := w.Conn.Close()
	if !w.closed.Swap(true) {
		w.counters.open.Add(-1)
	}
	return err
}

// release ends the care for a connection that was upgraded.
func (w *wire) release() {
	w.free.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = time.Time{}
	_ = w.Conn.SetWriteDeadline(w.user) // fails on closed connections only, as any use will
}

func closeWrite(c net.Conn) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
