package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// link is a TCP connection to something, which can be cut: then nothing passes, in either direction, and nobody is told,
// as when packets are lost. When it is mended what was under way arrives. It may be cut for single processes, and be slow.
type link struct {
	listener net.Listener
	to       func(pid int) string // host:port, asked for every connection
	pids     func() []int         // of the processes that may be behind a connection; nil: nobody asks which

	mu   sync.Mutex
	turn *sync.Cond   // something was cut or mended
	cut  map[int]bool // by process id; 0: for everybody. Guarded by mu
	slow map[int]bool // by process id; 0: for everybody. Guarded by mu
	open map[net.Conn]bool
	done bool
}

// What passes a slow link takes longer by so much, each way.
const (
	slowLeast = 100 * time.Millisecond
	slowMost  = 300 * time.Millisecond
)

func newLink(to func(pid int) string, pids func() []int) (*link, error) {
	return newLinkAt("127.0.0.1:0", to, pids)
}

func newLinkAt(address string, to func(pid int) string, pids func() []int) (*link, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("make a link: %w", err)
	}
	l := &link{listener: listener, to: to, pids: pids, cut: map[int]bool{}, slow: map[int]bool{}, open: map[net.Conn]bool{}}
	l.turn = sync.NewCond(&l.mu)
	go l.accept()
	return l, nil
}

func (l *link) address() string { return l.listener.Addr().String() }

// set cuts the link for a process, or for everybody (0), or mends it.
func (l *link) set(pid int, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cut {
		l.cut[pid] = true
	} else {
		delete(l.cut, pid)
	}
	l.turn.Broadcast()
}

// delay makes the link slow for a process, or for everybody (0), or as quick as before.
func (l *link) delay(pid int, slow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slow {
		l.slow[pid] = true
	} else {
		delete(l.slow, pid)
	}
}

// passes waits until something of the process may pass; false: the link is closed.
func (l *link) passes(pid int) bool {
	l.mu.Lock()
	late := l.slow[0] || l.slow[pid]
	l.mu.Unlock()
	if late {
		time.Sleep(slowLeast + rand.N(slowMost-slowLeast)) // the network that is tested, and no way to wait for it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.done && (l.cut[0] || l.cut[pid]) {
		l.turn.Wait()
	}
	return !l.done
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.hold(client)
		go l.serve(client)
	}
}

func (l *link) serve(client net.Conn) {
	pid := 0
	if l.pids != nil {
		pid = owner(client, l.pids())
	}
	if !l.passes(pid) {
		return
	}
	server, err := net.Dial("tcp", l.to(pid))
	if err != nil {
		l.drop(client)
		return
	}
	l.hold(server)
	var both sync.WaitGroup
	both.Go(func() { l.pipe(server, client, pid) })
	both.Go(func() { l.pipe(client, server, pid) })
	both.Wait()
	l.drop(client, server)
}

// pipe carries one direction. Its end is carried over as well; anything else ends both.
func (l *link) pipe(to, from net.Conn, pid int) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !l.passes(pid) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				l.drop(from)
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = to.(*net.TCPConn).CloseWrite() // a peer that is gone needs no end
			return
		}
		if err != nil {
			l.drop(to)
			return
		}
	}
}

func (l *link) hold(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[conn] = true; l.done {
		_ = conn.Close() // nobody is there any more
	}
}

func (l *link) drop(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		delete(l.open, conn)
		_ = conn.Close() // whatever was under way is lost, as meant
	}
}

// dropAll ends what is open, as if whoever is behind the link had been started anew.
func (l *link) dropAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		_ = conn.Close() // serve sees it, and forgets it
	}
}

func (l *link) close() {
	_ = l.listener.Close() // accept ends
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	l.turn.Broadcast()
	for conn := range l.open {
		_ = conn.Close()
	}
}

// owner finds which of the processes has the other end of a connection on this machine; 0: none.
func owner(conn net.Conn, pids []int) int {
	inode := inodeOf(hex(conn.RemoteAddr()), hex(conn.LocalAddr()))
	if inode == "" {
		return 0
	}
	for _, pid := range pids {
		descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, d := range descriptors {
			if target, err := os.Readlink(d); err == nil && target == "socket:["+inode+"]" {
				return pid
			}
		}
	}
	return 0
}

// hex is an address of IPv4 as the kernel writes it.
func hex(address net.Addr) string {
	tcp, is := address.(*net.TCPAddr)
	if !is || tcp.IP.To4() == nil {
		return ""
	}
	ip := tcp.IP.To4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], tcp.Port)
}

// inodeOf finds a socket of this machine by both its addresses: connections to different ones may come from the same port.
func inodeOf(local, remote string) string {
	file, err := os.Open("/proc/net/tcp")
	if err != nil {
		return ""
	}
	defer file.Close() //nolint:errcheck // only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 9 && fields[1] == local && fields[2] == remote {
			return fields[9]
		}
	}
	return ""
}
