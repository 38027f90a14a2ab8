package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// schema is what the application has on either side: registers that are swapped, a log of all swaps with an id from the
// client, and a counter for each register. On the extracted side strangler makes the tables.
const schema = `
	CREATE TABLE orders (id int PRIMARY KEY, value bigint NOT NULL DEFAULT 0);
	CREATE TABLE writes (seq bigserial PRIMARY KEY, id text NOT NULL, order_id int NOT NULL, previous bigint NOT NULL, value bigint NOT NULL);
	CREATE INDEX ON writes (id);
	CREATE TABLE counters (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
	INSERT INTO orders (id) SELECT generate_series(1, 40);
	INSERT INTO counters (id) SELECT generate_series(1, 40)`

const orders = 40

// app is the application of one side. It is no target of faults: its database is.
type app struct {
	server *http.Server
	url    string
	pool   *pgxpool.Pool
	busy   sync.WaitGroup // requests that are being answered
}

// statementTime bounds what a request waits for its database.
const statementTime = 3 * time.Second

func newApp(ctx context.Context, database string) (*app, error) {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = 24, 24 // warm: what a switch finds cold is the application's

	config.ConnConfig.ConnectTimeout = statementTime
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &app{pool: pool, url: "http://" + listener.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", a.handle(swap))
	mux.HandleFunc("GET /orders/{id}", a.handle(read))
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = a.server.Serve(listener) }() // until close
	return a, nil
}

func (a *app) close() {
	_ = a.server.Close() // clients are gone
	a.pool.Close()
}

// answer is what the application says of an order.
type answer struct {
	Value int64 `json:"value"` // of a swap: the one before
	Seq   int64 `json:"seq,omitempty"`
}

func (a *app) handle(do func(ctx context.Context, pool *pgxpool.Pool, order int, r *http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.busy.Add(1)
		defer a.busy.Done()
		order, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			http.Error(w, "no such order", http.StatusNotFound)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), statementTime)
		defer cancel()
		said, err := do(ctx, a.pool, order, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(said) // the client notices
	}
}

// swap puts a value into a register and says what was in it: a read, a write and a log entry that can only be true together.
func swap(ctx context.Context, pool *pgxpool.Pool, order int, r *http.Request) (said answer, err error) {
	id := r.FormValue("write")
	value, err := strconv.ParseInt(r.FormValue("value"), 10, 64)
	if err != nil || id == "" {
		return said, errors.New("a write has an id and a value")
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT value FROM orders WHERE id = $1 FOR UPDATE`, order).Scan(&said.Value); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE orders SET value = $2 WHERE id = $1`, order, value); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE counters SET n = n + 1 WHERE id = $1`, order); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `INSERT INTO writes (id, order_id, previous, value) VALUES ($1, $2, $3, $4) RETURNING seq`, id, order, said.Value, value).Scan(&said.Seq)
	})
	if err != nil {
		err = fmt.Errorf("swap: %w", err)
	}
	return said, err
}

func read(ctx context.Context, pool *pgxpool.Pool, order int, _ *http.Request) (said answer, err error) {
	err = pool.QueryRow(ctx, `SELECT value FROM orders WHERE id = $1`, order).Scan(&said.Value)
	return said, err
}
