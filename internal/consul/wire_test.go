package consul

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// wire is a TCP connection to an agent that can be cut, and slowed down.
type wire struct {
	t        *testing.T
	listener net.Listener
	target   string
	tries    chan struct{} // one slot: somebody tried to connect

	mu     sync.Mutex
	stall  bool              // new connections are taken and left hanging; guarded by mu
	delay  time.Duration     // of every piece, each way; guarded by mu
	open   map[net.Conn]bool // guarded by mu
	copies sync.WaitGroup
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, listener: listener, target: target, open: map[net.Conn]bool{}, tries: make(chan struct{}, 1)}
	w.copies.Go(w.accept)
	t.Cleanup(func() {
		_ = listener.Close() // accept ends
		w.reset()
		w.copies.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		signal(w.tries)
		w.hold(client)
		w.mu.Lock()
		stalled := w.stall
		w.mu.Unlock()
		if stalled {
			continue
		}
		server, err := net.Dial("tcp", w.target)
		if err != nil {
			w.drop(client)
			continue
		}
		w.hold(server)
		w.copies.Go(func() { w.pipe(client, server) })
		w.copies.Go(func() { w.pipe(server, client) })
	}
}

// pipe ends with either end; while the wire is stalled nothing passes.
func (w *wire) pipe(to, from net.Conn) {
	defer w.drop(to, from)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		stalled, delay := w.stall, w.delay
		w.mu.Unlock()
		if !sleep(w.t.Context(), delay) {
			return
		}
		if stalled {
			_, _ = io.Copy(io.Discard, from) // lost on the way, until the connection is reset
			return
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (w *wire) hold(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[conn] = true
}

func (w *wire) drop(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range conns {
		delete(w.open, conn)
		_ = conn.Close() // the other pipe may have closed it
	}
}

// set stalls the wire or heals it. Connections of a stalled wire stay as they
// are until they are reset.
func (w *wire) set(stall bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stall = stall
}

func (w *wire) slow(delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = delay
}

// reset breaks every connection with a RST.
func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.open {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it may be closed
		}
		_ = conn.Close()
	}
	clear(w.open)
}

func awaitSignal(t *testing.T, signals <-chan struct{}) {
	t.Helper()
	select {
	case <-signals:
	case <-time.After(deadline):
		t.Fatal("no signal")
	}
}
