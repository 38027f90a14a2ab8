package proxy

import (
	"context"
	"net"
	"sync"
)

// tunnel is one connection that was upgraded, as to a WebSocket.
type tunnel struct{ conn net.Conn }

// tunnels are the open ones. The zero value is ready.
type tunnels struct {
	mu    sync.Mutex
	open  map[*tunnel]bool // guarded by mu
	empty chan struct{}    // guarded by mu; closed when the last one ends, nil while nobody waits
}

func (t *tunnels) add(conn net.Conn) *tunnel {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[*tunnel]bool{}
	}
	one := &tunnel{conn}
	t.open[one] = true
	return one
}

// remove takes nil for a request that was no tunnel.
func (t *tunnels) remove(one *tunnel) {
	if one == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, one)
	if len(t.open) == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

// drain waits until the last tunnel has ended. When ctx ends first it closes the
// remaining connections, waits for their handlers, and returns how many there were.
func (t *tunnels) drain(ctx context.Context) (closed int) {
	t.mu.Lock()
	if len(t.open) == 0 {
		t.mu.Unlock()
		return 0
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	t.mu.Lock()
	for one := range t.open {
		closed++
		_ = one.conn.Close() // it may be closing already
	}
	t.mu.Unlock()
	<-empty
	return closed
}
