package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/proxy/edge"
)

// serverOptions is how clients reach the proxy.
func (d *plane) serverOptions() edge.Options {
	e := d.settings.Edge
	return edge.Options{
		Handler: d.proxy, Listeners: []net.Listener{d.listeners.Get(d.settings.Listen)}, TLS: tlsOf(e.TLS), HTTP2: e.HTTP2,
		Limits: edge.Limits{Connections: e.Limits.Connections, HeaderBytes: e.Limits.HeaderBytes, HeaderTime: e.Limits.HeaderTime,
			BodyStall: e.Limits.BodyStall, WriteStall: e.Limits.WriteStall, Idle: e.Limits.Idle},
		Drain:   edge.Drain{Delay: e.Drain.Delay, Grace: e.Drain.Grace},
		OnDrain: d.proxy.Drain, Streams: d.proxy.Streams, Log: d.log, Metrics: d.registry,
	}
}

func tlsOf(t config.EdgeTLS) *edge.TLS {
	if len(t.Certificates) == 0 {
		return nil
	}
	out := &edge.TLS{Clients: t.Clients, ClientCertificates: edge.ClientCertificates(t.ClientCertificates)}
	for _, c := range t.Certificates {
		out.Certificates = append(out.Certificates, edge.CertificateFiles{Certificate: c.Certificate, Key: c.Key})
	}
	return out
}

// registrar registers the proxy as a service in Consul, where there is one and the
// configuration names it.
func (d *plane) registrar() (func(context.Context) error, error) {
	if d.settings.Consul == nil || d.settings.Consul.Service == "" {
		return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	client, err := newConsul(d.settings)
	if err != nil {
		return nil, err
	}
	host, text, err := net.SplitHostPort(d.listeners.Get(d.settings.Listen).Addr().String())
	if err != nil {
		return nil, fmt.Errorf("register with Consul: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("register with Consul: %w", err)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "" // the agent's own
		}
	}
	ready, err := url.JoinPath(d.adminURL(), "readyz")
	if err != nil {
		return nil, fmt.Errorf("register with Consul: %w", err)
	}
	registrar := consul.NewRegistrar(consul.RegistrarOptions{Client: client, Name: d.settings.Consul.Service, ID: d.settings.Consul.Service + "-" + d.id,
		Address: host, Port: port, Meta: map[string]string{"zone": d.settings.Zone}, Ready: ready, Log: d.log})
	return func(ctx context.Context) error {
		registered, leave := context.WithCancel(ctx)
		defer leave()
		left := make(chan struct{})
		d.last.add(func() { leave(); <-left })
		if err := registrar.Run(registered); err != nil {
			d.log.Warn("left in Consul, which forgets it when its check stays critical", "error", err)
		}
		close(left)
		<-ctx.Done() // a goodbye is no reason to end the rest
		return nil
	}, nil
}

// getReady is how long the next process may take until it serves.
const getReady = time.Minute

// handOver starts this program again on SIGUSR2, with the listeners open, and has
// this process drained when the other one serves. If it does not come to that,
// this one goes on. When stop ends, a new process that is not ready is given up
// before this one drains: it would hold the listeners open, and serve on although
// the service was stopped. It blocks until ctx ends: no signal that comes late ends
// a process that drains.
func (p *parts) handOver(ctx, stop context.Context, drain func()) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-stop.Done():
			drain()
			<-ctx.Done()
			return nil
		case <-signals:
		}
		p.log.Info("handing the listeners over to a new process")
		switch err := p.handOverOnce(ctx, stop); {
		case err == nil:
			p.log.Info("the new process serves; this one drains")
			drain()
		case stop.Err() != nil:
			p.log.Info("the hand-over is given up: this process was stopped")
		default:
			p.log.Error("not handed over; this process goes on", "error", err)
		}
	}
}

// handOverOnce hands over unless one of the contexts ends before the new process is
// ready.
func (p *parts) handOverOnce(ctx, stop context.Context) error {
	if err := stop.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(stop, getReady)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return p.listeners.HandOver(bounded)
}
