package catalog

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"extracted/internal/accounts"
	"extracted/internal/answer"
	"extracted/internal/database"
	"extracted/internal/httpx"
	"extracted/internal/look"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed pages/*.html
var pageFiles embed.FS

const (
	pageSize    = 20
	maxPageSize = 100
	lastID      = 1 << 62
)

// Config is what the service is told.
type Config struct {
	Gateway      string // base URL under which accounts are reached
	ServiceToken string // of those who may change a product; empty: nobody may
}

// Service is the catalog service.
type Service struct {
	pool     *pgxpool.Pool
	accounts *accounts.Directory
	pages    *look.Pages
	token    string
	log      *slog.Logger
}

// Migrate brings the schema up to date. It blocks while another process does.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return database.Migrate(ctx, pool, migrations, "migrations")
}

// namePatience is short: a page without the name in its corner is a page.
const namePatience = 300 * time.Millisecond

// New wires a Service on a migrated database.
func New(pool *pgxpool.Pool, cfg Config, log *slog.Logger) (*Service, error) {
	if cfg.Gateway == "" {
		return nil, errors.New("GATEWAY_URL must be set")
	}
	pages, err := look.Parse(pageFiles, "pages", "catalog service")
	if err != nil {
		return nil, err
	}
	return &Service{
		pool: pool, accounts: accounts.New(httpx.NewClient(), strings.TrimSuffix(cfg.Gateway, "/"), namePatience), pages: pages,
		token: cfg.ServiceToken, log: log,
	}, nil
}

// Run serves on ln until ctx ends.
func (s *Service) Run(ctx context.Context, ln net.Listener) error {
	return httpx.Serve(ctx, ln, s.Handler(), s.log)
}

// Handler serves the API, the pages and /healthz.
func (s *Service) Handler() http.Handler {
	r := mux.NewRouter()
	r.Handle("/healthz", answer.Health(s.pool)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/api/catalog/products", s.api(s.list)).Methods(http.MethodGet)
	r.Handle("/api/catalog/products/{id:[0-9]+}", s.api(s.product)).Methods(http.MethodGet)
	r.Handle("/api/catalog/products/{id:[0-9]+}", s.api(s.change)).Methods(http.MethodPut)
	r.Handle("/api/catalog/search", s.api(s.search)).Methods(http.MethodGet)
	r.Handle("/", s.page(s.window)).Methods(http.MethodGet)
	r.Handle("/products/{id:[0-9]+}", s.page(s.productPage)).Methods(http.MethodGet)
	r.NotFoundHandler, r.MethodNotAllowedHandler = answer.NotFound, answer.NotAllowed
	return httpx.Wrap(r, "catalog", s.log)
}

// pathID reads the product's number; one that no bigint holds names no product.
func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(mux.Vars(r)["id"], 10, 64)
	if err != nil {
		return 0, errNoProduct
	}
	return id, nil
}
