package orders

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"extracted/internal/accounts"
	"extracted/internal/database"
	"extracted/internal/httpx"
	"extracted/internal/look"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed pages/*.html
var pageFiles embed.FS

// Config is what the service is told. The times have defaults.
type Config struct {
	Gateway      string        // base URL under which accounts, stock and billing are reached
	ServiceToken string        // shared with the other services; must not be empty
	Patience     time.Duration // how long one request keeps trying to finish its saga: 5 s
	Lease        time.Duration // after which the worker takes over what a request has left: 10 s
	AskTimeout   time.Duration // of one question to accounts: 1 s
	CallTimeout  time.Duration // of one call to stock or billing: 2 s
	WorkerEvery  time.Duration // between two looks at the outbox: 1 s

	cut func(step string) error // called after each step; an error ends the task there, as a crash would
}

// Service is the orders service.
type Service struct {
	pool     *pgxpool.Pool
	accounts *accounts.Directory
	pages    *look.Pages
	saga     *saga
	worker   *worker
	token    string
	patience time.Duration
	log      *slog.Logger
}

// Migrate brings the schema up to date. It blocks while another process does.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return database.Migrate(ctx, pool, migrations, "migrations")
}

// New wires a Service on a migrated database.
func New(pool *pgxpool.Pool, cfg Config, log *slog.Logger) (*Service, error) {
	if cfg.Gateway == "" || cfg.ServiceToken == "" {
		return nil, errors.New("GATEWAY_URL and SERVICE_TOKEN must be set")
	}
	cfg = withDefaults(cfg)
	if cfg.Lease <= cfg.Patience {
		return nil, fmt.Errorf("lease %s must outlast patience %s", cfg.Lease, cfg.Patience)
	}
	pages, err := look.Parse(pageFiles, "pages", "orders service")
	if err != nil {
		return nil, err
	}
	client := httpx.NewClient()
	others := &neighbours{client: client, gateway: cfg.Gateway, token: cfg.ServiceToken, callTimeout: cfg.CallTimeout}
	s := &saga{pool: pool, stock: others, billing: others, log: log, lease: cfg.Lease, cut: cfg.cut}
	return &Service{
		pool: pool, accounts: accounts.New(client, cfg.Gateway, cfg.AskTimeout), pages: pages, saga: s,
		worker: &worker{saga: s, log: log, every: cfg.WorkerEvery, patience: cfg.Patience},
		token:  cfg.ServiceToken, patience: cfg.Patience, log: log,
	}, nil
}

func withDefaults(cfg Config) Config {
	cfg.Gateway = strings.TrimSuffix(cfg.Gateway, "/")
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&cfg.Patience, 5 * time.Second}, {&cfg.Lease, 10 * time.Second},
		{&cfg.AskTimeout, time.Second}, {&cfg.CallTimeout, 2 * time.Second}, {&cfg.WorkerEvery, time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if cfg.cut == nil {
		cfg.cut = func(string) error { return nil }
	}
	return cfg
}

// Run serves on ln and works off the outbox until ctx ends or one of the two fails; it returns when both have
// ended. The worker is told to stop together with the server: what a last request leaves open stays in the outbox.
func (s *Service) Run(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	worked := make(chan error, 1)
	go func() {
		defer cancel()
		worked <- s.worker.Run(ctx)
	}()
	served := httpx.Serve(ctx, ln, s.Handler(), s.log)
	cancel()
	return errors.Join(served, <-worked)
}

// write runs do in one transaction.
func (s *Service) write(ctx context.Context, do func(pgx.Tx) error) error {
	return database.InTx(ctx, s.pool, do)
}

// sagaContext lives as long as the saga's patience, also when the client hangs up: a checkout that has begun
// is better finished now than by the worker in ten seconds.
func (s *Service) sagaContext(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), s.patience)
}
