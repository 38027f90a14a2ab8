package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const headerFault = "X-Soak-Fault" // what the failing upstream shall do with this request

// failing is an upstream that does to each request what the request asks for. It speaks HTTP by hand, because no
// library would send what it sends.
type failing struct {
	address  string
	listener net.Listener
	account  *account
	ledger   *ledger
	faults   map[string]fault
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
	over  bool                  // guarded by mu
}

func startFailing(account *account, ledger *ledger) (*failing, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the failing upstream: %w", err)
	}
	f := &failing{address: "http://" + listener.Addr().String(), listener: listener, account: account, ledger: ledger,
		faults: map[string]fault{}, conns: map[net.Conn]struct{}{}}
	for _, one := range faults {
		f.faults[one.name] = one
	}
	f.running.Go(f.accept)
	return f, nil
}

func (f *failing) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.mu.Lock()
		if f.over {
			f.mu.Unlock()
			_ = conn.Close() // nobody was promised anything
			return
		}
		f.conns[conn] = struct{}{}
		f.mu.Unlock()
		f.running.Go(func() { f.serve(conn) })
	}
}

// serve answers requests well until one asks for a fault, which ends the connection.
func (f *failing) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close() // a fault may have closed it already
		f.mu.Lock()
		delete(f.conns, conn)
		f.mu.Unlock()
	}()
	reader := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return // the proxy hung up
		}
		id := r.Header.Get(headerID)
		f.ledger.enter(id, true)
		one, known := f.faults[r.Header.Get(headerFault)]
		if known && one.early {
			_, _ = io.WriteString(conn, one.answer(id)) // if it does not arrive, the client says so
			f.awaitHangUp(conn, reader, id)
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			f.account.found("arrival", id, mismatch{"the body at the failing upstream", err.Error()})
			return
		}
		if !known {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s: %s\r\nContent-Length: 5\r\n\r\nwell\n", headerID, id) // as above
			continue
		}
		one.act(conn, one.answer(id))
		if one.hangs {
			f.awaitHangUp(conn, reader, id)
		}
		return
	}
}

// awaitHangUp keeps the connection open until the proxy gives it up, which it must: who waits for an upstream that says
// nothing wastes a connection on it.
func (f *failing) awaitHangUp(conn net.Conn, reader io.Reader, id string) {
	_ = conn.SetReadDeadline(time.Now().Add(2 * patience)) // TCP has deadlines
	_, err := io.Copy(io.Discard, reader)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		f.account.found("hang up", id, mismatch{"the connection to be given up", "still open after " + (2 * patience).String()})
	}
}

// hangUp closes every connection; once no fault is under way only idle ones are left.
func (f *failing) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.Close() // its goroutine notices
	}
}

func (f *failing) stop() error {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	err := f.listener.Close()
	f.hangUp()
	f.running.Wait()
	return err
}

// refusing is an address at which every connection is refused for as long as it is held: the port is bound, so nobody
// else gets it, and nobody listens.
type refusing struct {
	fd      int
	address string
}

func holdRefusing() (*refusing, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket that refuses: %w", err)
	}
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind a socket that refuses: %w", err), syscall.Close(fd))
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find the port that refuses: %w", err), syscall.Close(fd))
	}
	inet, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return nil, errors.Join(errors.New("the socket that refuses has another family"), syscall.Close(fd))
	}
	return &refusing{fd: fd, address: fmt.Sprintf("http://127.0.0.1:%d", inet.Port)}, nil
}

func (r *refusing) stop() error { return syscall.Close(r.fd) }
