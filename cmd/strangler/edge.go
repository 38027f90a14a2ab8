package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"strangler/proxy/edge"
)

// serverOptions is how clients reach the proxy.
func (d *plane) serverOptions() edge.Options {
	return edge.Options{
		Handler: d.proxy, Listeners: []net.Listener{d.listeners.Get(d.settings.Listen)}, HTTP2: true,
		Drain: edge.Drain{Delay: 500 * time.Millisecond}, OnDrain: d.proxy.Drain, Streams: d.proxy.Streams, Log: d.log,
	}
}

// getReady is how long the next process may take until it serves.
const getReady = time.Minute

// handOver starts this program again on SIGUSR2, with the listeners open, and has
// this process drained when the other one serves. If it does not come to that,
// this one goes on.
func (p *parts) handOver(ctx context.Context, drain func()) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
		}
		p.log.Info("handing the listeners over to a new process")
		bounded, cancel := context.WithTimeout(ctx, getReady)
		err := p.listeners.HandOver(bounded)
		cancel()
		if err != nil {
			p.log.Error("not handed over; this process goes on", "error", err)
			continue
		}
		p.log.Info("the new process serves; this one drains")
		drain()
	}
}
