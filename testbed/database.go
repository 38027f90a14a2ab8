package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// dropTimeout bounds the end of a test whose database does not want to go.
const dropTimeout = 30 * time.Second

// numbers keep databases of tests with the same name apart, within this process.
var numbers atomic.Int64

// database creates one for the test and drops it afterwards.
func (s *shared) database(t testing.TB, options string) string {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	name := databaseName(t.Name(), time.Now().UnixNano(), numbers.Add(1))
	err := s.asAdmin(t.Context(), func(conn *pgx.Conn) error { return create(t.Context(), conn, name, options) })
	if err != nil {
		t.Fatal(fmt.Errorf("create database for the test: %w", err))
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
		defer cancel()
		if err := s.asAdmin(ctx, func(conn *pgx.Conn) error { return drop(ctx, conn, name) }); err != nil {
			t.Error(fmt.Errorf("drop database of the test: %w", err))
		}
	})
	return s.url(name)
}

// databaseName derives a name that needs no quoting from the test's, and stays within PostgreSQL's 63 bytes.
func databaseName(test string, nanos, number int64) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		default:
			return '_'
		}
	}, test)
	return fmt.Sprintf("t_%.40s_%x_%x", clean, nanos&0xffffffff, number)
}

// asAdmin works in the database postgres, in a session that is kept for the next test: one that has just begun costs a
// test's server more than what it is asked.
func (s *shared) asAdmin(ctx context.Context, work func(*pgx.Conn) error) error {
	var conn *pgx.Conn
	select {
	case conn = <-s.admins:
	default:
		var err error
		if conn, err = pgx.Connect(ctx, s.url("postgres")); err != nil {
			return err
		}
	}
	if err := work(conn); err != nil {
		_ = conn.Close(ctx) // the error of the work is told
		return err
	}
	select {
	case s.admins <- conn:
		return nil
	default:
		return conn.Close(ctx)
	}
}

func create(ctx context.Context, conn *pgx.Conn, name, options string) error {
	// template0: nobody is ever connected to it, so that parallel tests do not meet "template is being accessed". Files are
	// copied in a third of the time that it takes to write them to the log.
	_, err := conn.Exec(ctx, "create database "+name+" template template0 strategy file_copy"+options)
	return err
}

// drop ends the sessions of a database, drops its replication slots, which would keep it, and then itself.
func drop(ctx context.Context, conn *pgx.Conn, name string) error {
	// Nobody new gets in, so that what is ended below stays ended.
	if _, err := conn.Exec(ctx, "alter database "+name+" allow_connections false"); err != nil {
		return err
	}
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := dropOnce(ctx, conn, name)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-retry.C: // a session that was told to end is still holding its slot
		}
	}
}

func dropOnce(ctx context.Context, conn *pgx.Conn, name string) error {
	for _, step := range []string{
		`select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active`,
		`select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active`,
	} {
		if _, err := conn.Exec(ctx, step, name); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, "drop database "+name+" with (force)")
	return err
}

// replaceDatabase makes URLs of other databases out of the one of an existing server.
func replaceDatabase(existing string) (func(database string) string, error) {
	base, err := url.Parse(existing)
	if err != nil || base.Scheme == "" {
		return nil, errors.New("TEST_DATABASE_URL is not a URL such as postgres://user:password@127.0.0.1:5432/postgres")
	}
	return func(database string) string {
		u := *base
		u.Path = "/" + database
		return u.String()
	}, nil
}
