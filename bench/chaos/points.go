package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
)

// points is where controllers tell what step of a switch they have come to, and wait for an answer.
type points struct {
	listener net.Listener

	mu      sync.Mutex
	moment  string        // that is waited for; empty: none. Guarded by mu
	reached chan struct{} // closed when it is reached. Guarded by mu
	goOn    chan struct{} // closed when it may go on. Guarded by mu
}

func listenForPoints(socket string) (*points, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for breakpoints: %w", err)
	}
	p := &points{listener: listener}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.answer(conn)
		}
	}()
	return p, nil
}

// arm waits for a moment: reached is closed when a controller has come there, and it stays there until letGo.
func (p *points) arm(moment string) (reached <-chan struct{}, letGo func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moment, p.reached, p.goOn = moment, make(chan struct{}), make(chan struct{})
	goOn := p.goOn
	return p.reached, sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.moment = ""
		close(goOn)
	})
}

func (p *points) answer(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // whoever waits goes on
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	_, moment, _ := strings.Cut(strings.TrimSpace(line), " ") // behind the name of the capability
	p.mu.Lock()
	if moment != p.moment {
		p.mu.Unlock()
		return
	}
	goOn := p.goOn
	p.moment = "" // once
	close(p.reached)
	p.mu.Unlock()
	<-goOn
}

func (p *points) close() { _ = p.listener.Close() } // the socket goes with its folder
