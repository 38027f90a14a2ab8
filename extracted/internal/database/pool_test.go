package database

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// TestNobodyWhoGoesAwayCostsASession: a session is dear to start, and clients go away in crowds, when it is slow.
func TestNobodyWhoGoesAwayCostsASession(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	pool, err := Open(t.Context(), testbed.Database(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const short = `select pg_sleep(0.3)`
	for name, do := range map[string]func(context.Context, context.CancelFunc) error{
		"in a statement": func(ctx context.Context, leave context.CancelFunc) error {
			time.AfterFunc(50*time.Millisecond, leave)
			_, err := pool.Exec(ctx, short)
			return err
		},
		"in a statement of a transaction": func(ctx context.Context, leave context.CancelFunc) error {
			return InTx(ctx, pool, func(tx pgx.Tx) error {
				time.AfterFunc(50*time.Millisecond, leave)
				_, err := tx.Exec(ctx, short)
				return err
			})
		},
		"between two": func(ctx context.Context, leave context.CancelFunc) error {
			return InTx(ctx, pool, func(tx pgx.Tx) error {
				leave()
				_, err := tx.Exec(ctx, short)
				return err
			})
		},
		"before the commit": func(ctx context.Context, leave context.CancelFunc) error {
			return InTx(ctx, pool, func(pgx.Tx) error {
				leave()
				return nil
			})
		},
		"in what takes long": func(ctx context.Context, leave context.CancelFunc) error {
			time.AfterFunc(50*time.Millisecond, leave)
			_, err := pool.Exec(ctx, `select pg_sleep(60)`)
			if err == nil {
				return errors.New("it was not cancelled")
			}
			return nil
		},
	} {
		ctx, leave := context.WithCancel(t.Context())
		err := do(ctx, leave)
		leave()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state := conn.Conn().PgConn().TxStatus(); state != 'I' {
			t.Errorf("%s: the session was left in state %c", name, state)
		}
		conn.Release()
		if started := pool.Stat().NewConnsCount(); started != 1 {
			t.Fatalf("%s: %d sessions were started, for one after another", name, started)
		}
	}
}

// TestWhatFailsIsTakenBack: an error and a panic leave nothing behind, and give the session back.
func TestWhatFailsIsTakenBack(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	pool, err := Open(t.Context(), testbed.Database(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), `create table written (by text)`); err != nil {
		t.Fatal(err)
	}
	write := func(by string, end func() error) error {
		return InTx(t.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `insert into written values ($1)`, by); err != nil {
				return err
			}
			return end()
		})
	}
	fault := errors.New("no")
	if err := write("error", func() error { return fault }); !errors.Is(err, fault) {
		t.Errorf("an error came out as %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = write("panic", func() error { panic("no") })
	}()
	if err := write("nobody", func() error { return nil }); err != nil {
		t.Error(err)
	}
	var by string
	if err := pool.QueryRow(t.Context(), `select string_agg(by, ' ') from written`).Scan(&by); err != nil || by != "nobody" {
		t.Errorf("written by %q (%v)", by, err)
	}
	if taken := pool.Stat().AcquiredConns(); taken != 0 {
		t.Errorf("%d sessions were not given back", taken)
	}
}
