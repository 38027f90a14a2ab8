package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// Listeners are the listening sockets of this process: inherited where the
// process before, or systemd, had them open already, and else opened.
type Listeners struct {
	addresses []string
	open      map[string]net.Listener
	inherited int
	ready     *os.File // to the process that handed over; nil without one

	mu     sync.Mutex
	handed bool // guarded by mu; another process has them, or is about to
}

// Listen opens addresses, each host:port, unix:PATH, or fd:NAME for a socket that
// systemd passes under that FileDescriptorName. What was inherited is used
// first, matched by the address as it was written, then by where it listens; the
// rest of it is closed. Environment variables of the inheritance are unset, so
// that it is used once. On error nothing stays open.
func Listen(ctx context.Context, addresses ...string) (*Listeners, error) {
	l := &Listeners{addresses: addresses, open: map[string]net.Listener{}}
	found, ready, err := inherit()
	l.ready = ready
	for _, address := range addresses {
		if err != nil {
			break
		}
		if l.open[address] != nil {
			err = fmt.Errorf("listen on %s: named twice", address)
			break
		}
		if in := found.take(address); in != nil {
			l.open[address], l.inherited = in, l.inherited+1
			continue
		}
		l.open[address], err = listen(ctx, address)
	}
	found.close()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	if name, ok := strings.CutPrefix(address, "fd:"); ok {
		return nil, fmt.Errorf("listen on %s: systemd passed no socket named %q", address, name)
	}
	network, where := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, where = "unix", path
		removeStale(ctx, path)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, network, where)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// removeStale removes the socket of a process that died: nobody answers there.
func removeStale(ctx context.Context, path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return
	}
	if c, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
		_ = c.Close() // only asked whether anybody is there; listening will fail and say so
		return
	}
	_ = os.Remove(path) // listening fails if this did
}

// Get returns the listener of an address as it was given to Listen, or nil.
func (l *Listeners) Get(address string) net.Listener { return l.open[address] }

// Inherited returns how many of the listeners were open before this process was.
func (l *Listeners) Inherited() int { return l.inherited }

// Ready tells the process that handed over, and systemd, that this one serves.
// Call it when it does: the other one stops then. It does nothing where nobody waits.
func (l *Listeners) Ready() error {
	var err error
	if l.ready != nil {
		if _, err = l.ready.WriteString("ready"); err != nil {
			err = fmt.Errorf("tell the process before: %w", err)
		}
		err = errors.Join(err, l.ready.Close())
		l.ready = nil
	}
	return errors.Join(err, Notify(fmt.Sprintf("READY=1\nMAINPID=%d", os.Getpid())))
}

// Close closes all of them. Servers close their own; this is for what was not served.
func (l *Listeners) Close() error {
	var errs []error
	for _, in := range l.open {
		if in != nil {
			if err := in.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if l.ready != nil {
		errs = append(errs, l.ready.Close())
		l.ready = nil
	}
	return errors.Join(errs...)
}

// same reports whether in listens where address says, as far as that can be told
// without resolving names.
func same(in net.Listener, address string) bool {
	at := in.Addr()
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return at.Network() == "unix" && at.String() == path
	}
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != fmt.Sprint(tcp.Port) {
		return false
	}
	if host == "" {
		return tcp.IP.IsUnspecified()
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap() == tcp.AddrPort().Addr().Unmap()
}
