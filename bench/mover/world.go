package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"

	"github.com/jackc/pgx/v5"

	"bench/stage"
	"testbed/cluster"
)

// database is the name of the only one in each cluster; its application role owns every table.
const (
	database = "bench"
	owner    = database + "_app"
)

// world is the two clusters and whatever runs beside them.
type world struct {
	options
	out            io.Writer
	dir            string           // for strangler's folders, and the clusters
	upstream       *httptest.Server // both sides' service: there must be one, though nobody sends requests
	source, target *cluster.Postgres
	running        []*strangler
	filled         map[string]bool
	mark           int64
}

// open starts both clusters and makes the empty tables. It blocks for some seconds.
func open(ctx context.Context, o options, out io.Writer) (w *world, err error) {
	w = &world{options: o, out: out, filled: map[string]bool{}, upstream: httptest.NewServer(http.NotFoundHandler())}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.strangler, err = filepath.Abs(o.strangler); err != nil {
		return w, fmt.Errorf("find the program: %w", err)
	}
	if _, err := os.Stat(w.strangler); err != nil {
		return w, fmt.Errorf("find the program: %w; build it with: make build", err)
	}
	if w.dir, err = os.MkdirTemp("", "strangler-bench-"); err != nil {
		return w, fmt.Errorf("make folder: %w", err)
	}
	var starting sync.WaitGroup
	var errs [2]error
	settings := stage.Settings()
	// How soon after another one a subscription's worker may start: with the usual 5 s native subscriptions would wait here, where
	// one is made after the other, and for nothing else.
	settings["wal_retrieve_retry_interval"] = "100ms"
	for i, c := range []**cluster.Postgres{&w.source, &w.target} {
		starting.Go(func() { *c, errs[i] = cluster.Start(ctx, cluster.Options{Settings: settings}) })
	}
	starting.Wait()
	if err := errors.Join(errs[0], errs[1]); err != nil {
		return w, err
	}
	for _, in := range []*cluster.Postgres{w.source, w.target} {
		if err := stage.MakeRoles(ctx, in, database); err != nil {
			return w, fmt.Errorf("make roles: %w", err)
		}
		if err := w.define(ctx, in); err != nil {
			return w, err
		}
	}
	return w, nil
}

// close stops everything that runs and removes it.
func (w *world) close() error {
	var errs []error
	for _, s := range w.running {
		errs = append(errs, s.stop())
	}
	for _, c := range []*cluster.Postgres{w.source, w.target} {
		if c != nil {
			errs = append(errs, c.Stop())
		}
	}
	w.upstream.Close()
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

// say tells what goes on.
func (w *world) say(format string, args ...any) { fmt.Fprintf(w.out, format+"\n", args...) }

// app addresses the database as the role that owns the tables.
func app(in *cluster.Postgres) string { return stage.RoleURL(in, database, owner) }

// execute runs statements one by one, each in a transaction of its own, as the owner of the tables.
func execute(ctx context.Context, in *cluster.Postgres, statements ...string) error {
	return executeAs(ctx, app(in), statements)
}

// administer does the same as the superuser.
func administer(ctx context.Context, in *cluster.Postgres, statements ...string) error {
	return executeAs(ctx, in.URL(database), statements)
}

func executeAs(ctx context.Context, url string, statements []string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%.80s: %w", statement, err)
		}
	}
	return nil
}

// ask reads one value, as the superuser.
func ask[T any](ctx context.Context, in *cluster.Postgres, query string) (value T, err error) {
	conn, err := pgx.Connect(ctx, in.URL(database))
	if err != nil {
		return value, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query).Scan(&value); err != nil {
		return value, fmt.Errorf("%.80s: %w", query, err)
	}
	return value, nil
}
