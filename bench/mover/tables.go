package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"testbed/cluster"
)

// table is one that a backfill copies: its columns, and an expression for each of them that makes row n.
type table struct {
	name    string
	columns string
	values  string
}

var (
	// narrow has rows of some 60 bytes as text.
	narrow = table{
		"narrow", `id bigint primary key, customer bigint not null, cents integer not null, at timestamptz not null, state text not null, note text`,
		`n, 1 + n * 7919 % 100000, n * 31 % 100000, '2024-01-01Z'::timestamptz + n * interval '10 seconds', (array['new', 'paid', 'sent', 'done'])[1 + n % 4], left(md5(n::text), 10)`,
	}
	// wide has rows of some 330.
	wide = table{
		"wide", `id bigint primary key, customer bigint not null, product integer not null, quantity integer not null, price numeric(12,2) not null, tax numeric(12,2) not null,
			paid boolean not null, created timestamptz not null, changed timestamptz, ref uuid not null, street text not null, note text, attributes jsonb not null`,
		`n, 1 + n * 7919 % 100000, 1 + n * 31 % 5000, 1 + n % 9, n % 100000 / 7.0, n % 1000 / 3.0, n % 3 = 0, '2024-01-01Z'::timestamptz + n * interval '10 seconds',
			'2025-01-01Z'::timestamptz + n * interval '7 seconds', md5(n::text)::uuid, 'street ' || left(md5((n + 1)::text), 25), repeat(md5((n + 2)::text), 3),
			jsonb_build_object('colour', left(md5(n::text), 6), 'size', n % 50, 'tags', jsonb_build_array(left(md5((n + 3)::text), 8), 'sale'))`,
	}
	// large takes the one large transaction. It begins empty.
	large = table{"large", narrow.columns, narrow.values}
)

// accounts are pgbench's tables. Its history has no primary key, which neither strangler nor an UPDATE through a publication
// can do without: it is given one on both sides.
var accounts = []string{"pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"}

const historyKey = `alter table pgbench_history add column id bigint generated always as identity primary key`

// marker is a table of one row, moved together with the others: what was written before it has arrived where it has.
const marker = "marker"

// define makes every table, empty.
func (w *world) define(ctx context.Context, in *cluster.Postgres) error {
	if _, err := w.client(ctx, "pgbench", "-i", "-q", "-I", "dtp", "-s", fmt.Sprint(w.scale), app(in)); err != nil {
		return err
	}
	statements := []string{historyKey, `create table ` + marker + ` (id integer primary key, n bigint not null)`}
	for _, t := range []table{narrow, wide, large} {
		statements = append(statements, fmt.Sprintf(`create table %s (%s)`, t.name, t.columns))
	}
	if in == w.source {
		statements = append(statements, `insert into `+marker+` values (1, 0)`)
	}
	return execute(ctx, in, statements...)
}

// insert makes the rows of a table.
func (t table) insert(rows int) string {
	return fmt.Sprintf(`insert into %s select %s from generate_series(1::bigint, %d) as g(n)`, t.name, t.values, rows)
}

// fill makes the source's rows, once.
func (w *world) fill(ctx context.Context, t table) error {
	if w.filled[t.name] {
		return nil
	}
	if err := execute(ctx, w.source, t.insert(w.rows), `vacuum analyze `+t.name); err != nil {
		return err
	}
	w.filled[t.name] = true
	return nil
}

// fillAccounts makes pgbench's rows at the source, once.
func (w *world) fillAccounts(ctx context.Context) error {
	if w.filled[accounts[0]] {
		return nil
	}
	if _, err := w.client(ctx, "pgbench", "-i", "-q", "-I", "gv", "-s", fmt.Sprint(w.scale), app(w.source)); err != nil {
		return err
	}
	w.filled[accounts[0]] = true
	return nil
}

// tidy takes out what the turn before has left in pgbench's tables.
func (w *world) tidy(ctx context.Context) error {
	return errors.Join(
		execute(ctx, w.source, `truncate pgbench_history`, `vacuum analyze `+strings.Join(accounts, ", ")),
		w.empty(ctx, append([]string{marker}, accounts...)...),
	)
}

// empty takes all rows out of the target's tables.
func (w *world) empty(ctx context.Context, tables ...string) error {
	return execute(ctx, w.target, `truncate `+strings.Join(tables, ", "))
}

// size is that of tables of the source, without their indexes.
func (w *world) size(ctx context.Context, tables ...string) (bytes int64, err error) {
	return ask[int64](ctx, w.source, `select sum(pg_table_size(t::regclass))::bigint from unnest(array['`+strings.Join(tables, "', '")+`']) t`)
}

// same fails where a query has another answer on the target than on the source: figures of what did not arrive mean nothing.
func (w *world) same(ctx context.Context, query string) error {
	source, err := ask[string](ctx, w.source, query)
	if err != nil {
		return err
	}
	target, err := ask[string](ctx, w.target, query)
	if err != nil {
		return err
	}
	if source != target {
		return fmt.Errorf("%s is %s on the source and %s on the target", query, source, target)
	}
	return nil
}
