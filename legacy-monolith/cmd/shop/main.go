// Command shop is the monolith of the worked example: accounts, catalog, stock,
// orders and billing in one process, on one PostgreSQL database. This package
// only reads settings and wires the modules together.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"legacy-monolith/database"
	"legacy-monolith/generate"
	"legacy-monolith/web"
)

const usage = `usage: shop serve [--no-migrate] | migrate | generate [--customers N --products N --orders N --seed N]

Every verb reads DATABASE_URL; serve also LISTEN, SERVICE_TOKEN, ORDERS_URL and LOG_LEVEL.
Each has a flag of the same name: shop serve --listen 127.0.0.1:9000`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "shop:", err)
		}
		stop()
		os.Exit(1)
	}
}

// run does one verb and blocks until it is done; serve is done when ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet("shop "+args[0], flag.ContinueOnError)
	flags.SetOutput(out)
	url := flags.String("database-url", getenv("DATABASE_URL"), "PostgreSQL `url`")
	level := flags.String("log-level", getenv("LOG_LEVEL"), "debug, info, warn or error")
	var verb func(ctx context.Context, url string, log *slog.Logger) error
	switch args[0] {
	case "serve":
		verb = serveVerb(flags, getenv)
	case "migrate":
		verb = migrate
	case "generate":
		verb = generateVerb(flags)
	default:
		return errors.New(usage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q\n%s", flags.Arg(0), usage)
	}
	if *url == "" {
		return errors.New("DATABASE_URL is not set")
	}
	log, err := logger(out, *level)
	if err != nil {
		return err
	}
	return verb(ctx, *url, log)
}

func logger(out io.Writer, level string) (*slog.Logger, error) {
	var threshold slog.Level
	if level != "" {
		if err := threshold.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("read LOG_LEVEL: %w", err)
		}
	}
	lines := slog.NewJSONHandler(out, &slog.HandlerOptions{Level: threshold})
	return slog.New(web.TraceHandler(lines)).With("service", "monolith"), nil
}

func migrate(ctx context.Context, url string, log *slog.Logger) error {
	pool, err := database.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	applied, err := database.Migrate(ctx, pool)
	if err != nil {
		return err
	}
	log.Info("schema is up to date", "applied", applied)
	return nil
}

func generateVerb(flags *flag.FlagSet) func(context.Context, string, *slog.Logger) error {
	size := generate.Default
	flags.IntVar(&size.Customers, "customers", size.Customers, "how many customers")
	flags.IntVar(&size.Products, "products", size.Products, "how many products")
	flags.IntVar(&size.Orders, "orders", size.Orders, "how many orders")
	flags.Uint64Var(&size.Seed, "seed", size.Seed, "the same seed makes the same data")
	return func(ctx context.Context, url string, log *slog.Logger) error {
		pool, err := database.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer pool.Close()
		if _, err := database.Migrate(ctx, pool); err != nil {
			return err
		}
		rows, err := generate.Load(ctx, pool, size)
		if err != nil {
			return err
		}
		log.Info("data loaded", "customers", size.Customers, "products", size.Products, "orders", size.Orders, "rows", rows)
		return nil
	}
}
