package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// packets carries UDP to a server, and can be cut like a link. Whatever is sent meanwhile is lost.
type packets struct {
	conn *net.UDPConn
	to   *net.UDPAddr

	mu  sync.Mutex
	cut map[int]bool // by the port from which it was sent; 0: for everybody. Guarded by mu
}

// newPackets listens at one address and sends what it hears to another one, which hears it as from here: gossip says in its
// packets whom to answer.
func newPackets(address, to string) (*packets, error) {
	at, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	p := &packets{cut: map[int]bool{}}
	if p.to, err = net.ResolveUDPAddr("udp", to); err != nil {
		return nil, err
	}
	if p.conn, err = net.ListenUDP("udp", at); err != nil {
		return nil, fmt.Errorf("make a link for packets: %w", err)
	}
	go p.carry()
	return p, nil
}

func (p *packets) carry() {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && p.passes(int(from.Port())) {
			_, _ = p.conn.WriteToUDP(buffer[:n], p.to) // nobody listens: it is lost
		}
	}
}

func (p *packets) passes(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.cut[0] && !p.cut[port]
}

func (p *packets) set(port int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cut {
		p.cut[port] = true
	} else {
		delete(p.cut, port)
	}
}

func (p *packets) close() { _ = p.conn.Close() } // carry ends
