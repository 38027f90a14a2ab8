package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"

	"testbed/cluster"
)

// password of every role. It keeps nobody out who can read this file; it is there because in real life there is one.
const password = "demo"

// Mover is the role that strangler uses. It is no superuser.
const Mover = "strangler"

// Settings of a cluster: those of a server that means it. fsync stays on.
func Settings() map[string]string {
	return map[string]string{
		"wal_level":       "logical",
		"fsync":           "on",
		"shared_buffers":  "256MB",
		"max_wal_size":    "2GB",
		"timezone":        "UTC",
		"log_checkpoints": "off",
	}
}

// StartDatabases starts both clusters and makes the roles and the empty databases. It blocks for some seconds, and
// minutes where PostgreSQL has to be installed first.
func (s *Stage) StartDatabases(ctx context.Context) error {
	var starting sync.WaitGroup
	var errs [2]error
	starting.Go(func() { s.legacy, errs[0] = s.freshCluster(ctx, "legacy") })
	starting.Go(func() { s.extracted, errs[1] = s.freshCluster(ctx, "extracted") })
	starting.Wait()
	if err := errors.Join(errs[0], errs[1]); err != nil {
		return err
	}
	if err := MakeRoles(ctx, s.legacy, "shop"); err != nil {
		return fmt.Errorf("prepare the legacy cluster: %w", err)
	}
	if err := MakeRoles(ctx, s.extracted, "orders", "catalog"); err != nil {
		return fmt.Errorf("prepare the extracted cluster: %w", err)
	}
	return nil
}

// freshCluster starts a cluster that nobody has used. Our folder is empty, but the server's own user may not reach it;
// the cluster then lives in a stand-in, where a killed run may have left one behind.
func (s *Stage) freshCluster(ctx context.Context, name string) (*cluster.Postgres, error) {
	options := cluster.Options{
		Dir: filepath.Join(s.Dir, name), Password: password, Settings: Settings(), Log: s.Log.With("cluster", name),
	}
	started, err := cluster.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	used, err := inUse(ctx, started.URL("postgres"))
	if err == nil && !used {
		return started, nil
	}
	if err := errors.Join(err, started.Stop(), os.RemoveAll(started.Dir())); err != nil {
		return nil, fmt.Errorf("remove the cluster of an earlier run: %w", err)
	}
	return cluster.Start(ctx, options)
}

// inUse finds databases besides those that every cluster has.
func inUse(ctx context.Context, url string) (used bool, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `select count(*) > 3 from pg_database`).Scan(&used)
	return used, err
}

// MakeRoles makes each database with an application role that owns it (NAME_app), and a mover that has what a mover needs and
// no more: replication for the change streams, membership for the tables, and three rights that only a superuser can give.
func MakeRoles(ctx context.Context, in *cluster.Postgres, databases ...string) error {
	if err := execute(ctx, in.URL("postgres"),
		fmt.Sprintf(`create role %s login replication password '%s'`, Mover, password),
		`grant set on parameter session_replication_role to `+Mover,
		`grant pg_monitor, pg_signal_backend to `+Mover,
	); err != nil {
		return err
	}
	for _, name := range databases {
		app := name + "_app"
		if err := execute(ctx, in.URL("postgres"),
			fmt.Sprintf(`create role %s login password '%s'`, app, password),
			fmt.Sprintf(`create database %s owner %s template template0`, name, app),
			fmt.Sprintf(`grant %s to %s`, app, Mover),
			fmt.Sprintf(`grant create on database %s to %s`, name, Mover),
		); err != nil {
			return err
		}
		if err := execute(ctx, in.URL(name), fmt.Sprintf(grantOrigins, Mover)); err != nil {
			return err
		}
	}
	return nil
}

// grantOrigins lets the mover tag what it writes, so that the way back does not echo it.
const grantOrigins = `do $$ declare f regprocedure; begin
	for f in select oid::regprocedure from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname like 'pg\_replication\_origin\_%%' loop
		execute format('grant execute on function %%s to %s', f);
	end loop;
end $$`

func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}

// Legacy and Extracted are the shop's and the orders service's database, as the superuser.
func (s *Stage) Legacy() string { return s.legacy.URL("shop") }

// Extracted see Legacy.
func (s *Stage) Extracted() string { return s.extracted.URL("orders") }

// PostgreSQL is the major version of the clusters.
func (s *Stage) PostgreSQL() int { return s.legacy.Binaries().Version }

// RoleURL addresses a database as one of the roles that MakeRoles has made.
func RoleURL(in *cluster.Postgres, database, role string) string {
	u := neturl.URL{
		Scheme: "postgres", User: neturl.UserPassword(role, password), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(in.Port())), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Fill makes the shop's schema and its past. It blocks until that is done: ten seconds for the usual sizes.
func (s *Stage) Fill(ctx context.Context, customers, products, orders int) error {
	return s.runOnce(ctx, "generate", "shop", s.shopEnv(), "generate",
		"--customers", strconv.Itoa(customers), "--products", strconv.Itoa(products), "--orders", strconv.Itoa(orders))
}

// Rows counts what the capability orders is going to move.
func (s *Stage) Rows(ctx context.Context) (rows int64, err error) {
	conn, err := pgx.Connect(ctx, s.Legacy())
	if err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	defer conn.Close(ctx)
	for _, table := range []string{"carts", "cart_lines", "orders", "order_lines", "order_stats", "order_log", "products"} {
		var n int64
		if err := conn.QueryRow(ctx, `select count(*) from `+table).Scan(&n); err != nil {
			return 0, fmt.Errorf("count rows: %w", err)
		}
		rows += n
	}
	return rows, nil
}

func (s *Stage) closeDatabases() error {
	var errs []error
	for _, c := range []**cluster.Postgres{&s.extracted, &s.legacy} {
		if *c == nil {
			continue
		}
		errs = append(errs, (*c).Stop())
		if !s.Keep {
			errs = append(errs, os.RemoveAll((*c).Dir()))
		}
		*c = nil
	}
	return errors.Join(errs...)
}
