package database

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock serialises two processes that start at once.
const migrationLock int64 = 7_205_091_844

// Migrate applies the migrations that the database has not seen, all in one
// transaction, and returns their names in order. A database that is up to date
// is only read.
func Migrate(ctx context.Context, pool *pgxpool.Pool) (applied []string, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	err = InTx(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, migrationLock); err != nil {
			return fmt.Errorf("lock migrations: %w", err)
		}
		current, err := version(ctx, tx)
		if err != nil {
			return err
		}
		for _, name := range names {
			done, err := apply(ctx, tx, name, current)
			if err != nil {
				return fmt.Errorf("apply %s: %w", name, err)
			}
			if done {
				applied = append(applied, strings.TrimPrefix(name, "migrations/"))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("migrate database: %w", err)
	}
	return applied, nil
}

// version reads the newest applied migration, creating the record on first use.
func version(ctx context.Context, tx pgx.Tx) (current int, err error) {
	var known bool
	if err := tx.QueryRow(ctx, `select to_regclass('schema_migrations') is not null`).Scan(&known); err != nil {
		return 0, fmt.Errorf("find schema_migrations: %w", err)
	}
	if !known {
		_, err := tx.Exec(ctx, `create table schema_migrations (
			version int primary key, name text not null, applied_at timestamptz not null default now())`)
		if err != nil {
			return 0, fmt.Errorf("create schema_migrations: %w", err)
		}
		return 0, nil
	}
	if err := tx.QueryRow(ctx, `select coalesce(max(version), 0) from schema_migrations`).Scan(&current); err != nil {
		return 0, fmt.Errorf("read schema_migrations: %w", err)
	}
	return current, nil
}

func apply(ctx context.Context, tx pgx.Tx, path string, current int) (bool, error) {
	name := strings.TrimPrefix(path, "migrations/")
	digits, _, _ := strings.Cut(name, "_")
	number, err := strconv.Atoi(digits)
	if err != nil {
		return false, fmt.Errorf("read number of %s: %w", name, err)
	}
	if number <= current {
		return false, nil
	}
	statements, err := migrations.ReadFile(path)
	if err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, string(statements)); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, `insert into schema_migrations (version, name) values ($1, $2)`, number, name)
	return err == nil, err
}
