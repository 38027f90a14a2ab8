package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/internal/telemetry"
	"strangler/proxy/edge"
)

// parts is what every process of ours is built from.
type parts struct {
	settings  config.Config
	log       *slog.Logger
	store     store
	discovery *consul.Discovery // nil: no Consul
	proxied   bool              // a proxy of this process says what is discovered
	registry  *prometheus.Registry
	router    *mux.Router // of the admin address
	listeners *edge.Listeners
	admin     net.Listener
	last      *goodbye
}

// build reads the configuration and makes the parts; nothing runs yet but the
// listeners, so that a second process on their addresses fails at once. Those that
// a process before this one, or systemd, has handed over are used as they are.
func (c *cli) build(ctx context.Context, clients bool, adjust func(*config.Config)) (*parts, error) {
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	adjust(&settings)
	// A log that nobody reads any more does not end what serves clients, nor does what
	// makes other servers read their files again: here that goes without saying.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	p := &parts{settings: settings, log: telemetry.NewLogger(os.Stderr, settings.Log.Level, settings.Log.Format),
		registry: telemetry.NewRegistry(), router: api.NewRouter(), last: c.last}
	redirect(p.log)
	if p.store, err = newStore(settings, p.log); err != nil {
		return nil, err
	}
	if settings.Consul != nil {
		if p.discovery, err = newDiscovery(settings, p.log); err != nil {
			return nil, err
		}
	}
	addresses := []string{settings.Admin}
	if clients {
		addresses = append(addresses, settings.Listen)
	}
	p.listeners, err = edge.Listen(ctx, addresses...)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; is strangler running already?", err)
	}
	if err != nil {
		return nil, err
	}
	p.admin = p.listeners.Get(settings.Admin)
	api.Health(p.router, telemetry.Handler(p.registry))
	return p, nil
}

// serveAdmin serves the admin address until the context ends.
func (p *parts) serveAdmin(ctx context.Context) error {
	server := &http.Server{Handler: api.Protect(p.router, p.log, p.adminNames()...), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(p.admin) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the admin address: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		err = errors.Join(err, server.Close()) // streams of progress that nobody ends
		p.log.Warn("cut off requests to the admin address", "error", err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the admin address: %w", err)
	}
	return nil
}

// close gives back the listeners that nobody served.
func (p *parts) close() {
	if err := p.listeners.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		p.log.Warn("close listeners", "error", err)
	}
}

// together runs everything until the first of them returns, then ends the
// others, in no order; it returns when all have.
func together(ctx context.Context, runs ...func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make(chan error, len(runs))
	for _, run := range runs {
		go func() {
			defer stop()
			errs <- run(ctx)
		}()
	}
	var all error
	for range runs {
		if err := <-errs; err != nil && !errors.Is(err, context.Canceled) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// adminURL is where others reach this process's admin address.
func (p *parts) adminURL() string {
	if p.settings.Advertise != "" {
		return "http://" + p.settings.Advertise
	}
	host, _, err := net.SplitHostPort(p.settings.Admin)
	_, port, _ := net.SplitHostPort(p.admin.Addr().String())
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "127.0.0.1"
		}
	}
	return "http://" + net.JoinHostPort(host, port)
}

// adminNames are those under which the admin address may be asked: what it is
// configured as, what others are told, the machine's, and what the configuration adds.
func (p *parts) adminNames() []string {
	names := slices.Clone(p.settings.AdminNames)
	for _, address := range []string{p.settings.Admin, p.settings.Advertise} {
		if host, _, err := net.SplitHostPort(address); err == nil {
			names = append(names, host)
		}
	}
	if machine, err := os.Hostname(); err == nil {
		names = append(names, machine)
	}
	return names
}

// documents loads the documents once, to tell what is wrong with them before
// anything is served.
func (p *parts) documents(ctx context.Context) ([]capability.Document, []capability.Problem, error) {
	docs, problems, err := p.store.Load(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; make the directory, or name another as `routes` in %s", err, p.settings.File)
	}
	return docs, problems, err
}
