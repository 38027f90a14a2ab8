package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"legacy-monolith/accounts"
	"legacy-monolith/billing"
	"legacy-monolith/catalog"
	"legacy-monolith/database"
	"legacy-monolith/orders"
	"legacy-monolith/stock"
	"legacy-monolith/web"
)

// shutdownGrace is how long running requests may take once the shop is told to stop.
const shutdownGrace = 10 * time.Second

func serveVerb(flags *flag.FlagSet, getenv func(string) string) func(context.Context, string, *slog.Logger) error {
	address := getenv("LISTEN")
	if address == "" {
		address = "127.0.0.1:9000"
	}
	flags.StringVar(&address, "listen", address, "`address` to serve on")
	token := flags.String("service-token", getenv("SERVICE_TOKEN"), "what other services carry as bearer")
	ordersURL := flags.String("orders-url", getenv("ORDERS_URL"), "where billing tells orders about refunds; empty: in this process")
	noMigrate := flags.Bool("no-migrate", false, "leave the schema as it is")
	return func(ctx context.Context, url string, log *slog.Logger) error {
		pool, err := database.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer pool.Close()
		if !*noMigrate {
			if _, err := database.Migrate(ctx, pool); err != nil {
				return err
			}
		}
		if *token == "" {
			log.Warn("SERVICE_TOKEN is not set, service routes refuse everybody")
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		log.Info("serving", "address", listener.Addr().String())
		return serve(ctx, listener, shop(pool, *token, *ordersURL, log), log)
	}
}

// shop wires the modules: the one place that knows all of them.
func shop(pool *pgxpool.Pool, token, ordersURL string, log *slog.Logger) http.Handler {
	accountsModule := accounts.New(pool)
	catalogModule := catalog.New(pool)
	stockModule := stock.New(pool)
	ordersModule := orders.New(pool, stock.Ledger{}, billing.Ledger{})

	var told billing.Orders = billing.OrdersFunc(func(ctx context.Context, orderID int64) error {
		_, err := ordersModule.Refunded(ctx, orderID)
		return err
	})
	if ordersURL != "" {
		told = billing.NewRemoteOrders(ordersURL, token)
	}
	billingModule := billing.New(pool, told, log)

	site := web.NewSite(log, accountsModule, token)
	router := mux.NewRouter()
	router.Handle("/healthz", site.API(health(pool))).Methods(http.MethodGet, http.MethodHead)
	site.Routes(router)
	accountsModule.Routes(router, site)
	catalogModule.Routes(router, site)
	stockModule.Routes(router, site)
	ordersModule.Routes(router, site)
	billingModule.Routes(router, site)
	return web.Frame(log, router)
}

func health(pool *pgxpool.Pool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := pool.Ping(ctx); err != nil {
			return web.Refuse(http.StatusServiceUnavailable, "database does not answer")
		}
		return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}
}

// serve blocks until ctx ends and the running requests have been answered, or
// until the listener fails.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("stop: %w", err), server.Close())
	}
	return nil
}
