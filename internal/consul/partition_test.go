package consul

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"testbed"
)

// wire is a TCP connection to an agent that can be cut.
type wire struct {
	t        *testing.T
	listener net.Listener
	target   string
	tries    chan struct{} // one slot: somebody tried to connect

	mu     sync.Mutex
	stall  bool              // new connections are taken and left hanging; guarded by mu
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
		stalled := w.stall
		w.mu.Unlock()
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

// A partition that swallows packets: the questions time out, the endpoints stay,
// and what changed behind it is seen when it heals.
func TestPartitionStalls(t *testing.T) {
	stalled := unique("stalled")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	w := newWire(t, agent)
	d := start(t, Options{Address: w.listener.Addr().String()}, func(b *bounds) {
		b.wait, b.grace = 200*time.Millisecond, 100*time.Millisecond
	})
	d.Watch(stalled)
	one := c.add(stalled, "http://127.0.0.1:7031")
	d.await(t, stalled, one)
	w.set(true)
	two := c.add(stalled, "http://127.0.0.1:7032")
	for range 3 { // further connections, because the ones before were given up
		awaitSignal(t, w.tries)
	}
	if got := d.Endpoints(stalled); !slices.Equal(got, []string{one}) {
		t.Errorf("during the partition: %v", got)
	}
	w.set(false)
	w.reset()
	d.await(t, stalled, one, two)
}

func TestPartitionResets(t *testing.T) {
	reset := unique("reset")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	w := newWire(t, agent)
	d := start(t, Options{Address: w.listener.Addr().String()}, nil)
	d.Watch(reset)
	endpoints := []string{c.add(reset, "http://127.0.0.1:7041")}
	d.await(t, reset, endpoints...)
	for _, next := range []string{"http://127.0.0.1:7042", "http://127.0.0.1:7043"} {
		w.reset() // in the middle of a blocking query
		endpoints = append(endpoints, c.add(reset, next))
		d.await(t, reset, endpoints...)
	}
}

func awaitSignal(t *testing.T, signals <-chan struct{}) {
	t.Helper()
	select {
	case <-signals:
	case <-time.After(deadline):
		t.Fatal("no signal")
	}
}
