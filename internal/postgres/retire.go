package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

//go:embed retire.sql
var uninstallSQL string

// Scans counts how often the tables were read, by name. A session reports what it
// has read up to ten seconds later, or when it ends: idle ones of ours are ended
// first, and waited for.
func (d *Database) Scans(ctx context.Context, relations []migrate.Relation) ([]migrate.Scan, error) {
	if err := d.endIdle(ctx); err != nil {
		return nil, err
	}
	rows, err := d.pool.Query(ctx, `
		SELECT s.schemaname, s.relname, coalesce(s.seq_scan, 0), coalesce(s.idx_scan, 0)
		FROM pg_stat_user_tables s JOIN unnest($1::text[], $2::text[]) AS w(schema, name) ON s.schemaname = w.schema AND s.relname = w.name
		ORDER BY 1, 2`, schemas(relations), names(relations))
	if err != nil {
		return nil, fmt.Errorf("read statistics of %s database: %w", d.side, err)
	}
	scans, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s migrate.Scan, err error) {
		return s, row.Scan(&s.Relation.Schema, &s.Relation.Name, &s.Sequential, &s.Index)
	})
	if err != nil {
		return nil, fmt.Errorf("read statistics of %s database: %w", d.side, err)
	}
	return scans, nil
}

// endIdle closes the connections of the pool that nobody uses, and waits until
// their sessions are gone, five seconds at most.
func (d *Database) endIdle(ctx context.Context) error {
	var gone []int64
	for _, conn := range d.pool.AcquireAllIdle(ctx) {
		gone = append(gone, int64(conn.Conn().PgConn().PID()))
		_ = conn.Conn().Close(ctx) // whatever becomes of it, it is not used again
		conn.Release()
	}
	for give := time.Now().Add(5 * time.Second); time.Now().Before(give); {
		var left int
		if err := d.pool.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)`, gone).Scan(&left); err != nil {
			return fmt.Errorf("wait for sessions of %s database: %w", d.side, err)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// Publishers names the publications, and the other capabilities with triggers,
// that tell others what is written to the tables.
func (d *Database) Publishers(ctx context.Context, name string, relations []migrate.Relation) ([]string, error) {
	rows, err := d.pool.Query(ctx, `
		SELECT DISTINCT format('publication %I has %s', p.pubname, p.tablename) FROM pg_publication_tables p
		JOIN unnest($1::text[], $2::text[]) AS w(schema, name) ON p.schemaname = w.schema AND p.tablename = w.name WHERE p.pubname <> $3 ORDER BY 1`,
		schemas(relations), names(relations), slotName(name, d.side))
	var publishers []string
	if err == nil {
		publishers, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return nil, fmt.Errorf("list publications of %s database: %w", d.side, err)
	}
	rows, err = d.pool.Query(ctx, `
		SELECT DISTINCT format('capability %s captures %s', o.capability, c.relname) FROM strangler.outbox o
		JOIN pg_class c ON c.oid = ANY(o.relations) JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN unnest($1::text[], $2::text[]) AS w(schema, name) ON n.nspname = w.schema AND c.relname = w.name WHERE o.capability <> $3 ORDER BY 1`,
		schemas(relations), names(relations), name)
	var others []string
	if err == nil {
		others, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil && !undefined(err) {
		return nil, fmt.Errorf("list captures of %s database: %w", d.side, err)
	}
	return append(publishers, others...), nil
}

// Clashes lists the tables whose name is taken in the schema, or by another of
// them.
func (d *Database) Clashes(ctx context.Context, relations []migrate.Relation, schema string) ([]string, error) {
	rows, err := d.pool.Query(ctx, `
		WITH wanted AS (
			SELECT c.oid, c.relname FROM unnest($1::text[], $2::text[]) AS w(schema, name)
			JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
		), moving AS (
			TABLE wanted
			UNION SELECT i.indexrelid, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid IN (SELECT oid FROM wanted)
			UNION SELECT s.oid, s.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
				WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM wanted) AND d.deptype IN ('a', 'i')
		)
		SELECT m.oid::regclass::text FROM moving m WHERE EXISTS (SELECT FROM moving o WHERE o.relname = m.relname AND o.oid <> m.oid)
			OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $3 AND c.relname = m.relname AND c.oid <> m.oid)
		ORDER BY 1`, schemas(relations), names(relations), schema)
	var clashes []string
	if err == nil {
		clashes, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return nil, fmt.Errorf("look for the place of tables in schema %s of %s database: %w", schema, d.side, err)
	}
	return clashes, nil
}

// Archive moves the guarded tables of a capability with all their partitions, in
// one transaction that waits for 100 ms at a time for its locks. What was archived
// before has its guards still, and is left where it is.
func (d *Database) Archive(ctx context.Context, name, schema string) ([]string, error) {
	fail := func(err error) ([]string, error) {
		return nil, fmt.Errorf("archive tables of %s in %s database: %w", name, d.side, err)
	}
	rows, err := d.pool.Query(ctx, `
		WITH guarded AS (SELECT r::oid AS oid FROM strangler.guarded($1) r),
		ours AS (TABLE guarded UNION SELECT t.relid::oid FROM guarded CROSS JOIN LATERAL pg_partition_tree(guarded.oid) t)
		SELECT format('%I.%I', n.nspname, c.relname),
			ARRAY(SELECT format('ALTER TABLE %I.%I DROP CONSTRAINT %I', n.nspname, c.relname, k.conname) FROM pg_constraint k
				WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0 AND k.confrelid NOT IN (TABLE ours) ORDER BY k.conname),
			ARRAY(SELECT format('dropped foreign key %I of %I.%I: %s', k.conname, n.nspname, c.relname, pg_get_constraintdef(k.oid)) FROM pg_constraint k
				WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0 AND k.confrelid NOT IN (TABLE ours) ORDER BY k.conname)
		FROM ours JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname <> $2 ORDER BY c.oid`, name, schema)
	if undefined(err) {
		return nil, nil // nothing is guarded any more
	}
	if err != nil {
		return fail(err)
	}
	type table struct {
		name         string
		drops, words []string
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		return t, row.Scan(&t.name, &t.drops, &t.words)
	})
	if err != nil && !undefined(err) {
		return fail(err)
	}
	if len(tables) == 0 {
		return nil, nil
	}
	var locked, drops, moves, did []string
	for _, t := range tables {
		locked = append(locked, "ONLY "+t.name)
		drops = append(drops, t.drops...)
		moves = append(moves, "ALTER TABLE "+t.name+" SET SCHEMA "+quote.Ident(schema))
		did = append(did, append(t.words, "moved "+t.name+" into "+schema)...)
	}
	script := append([]string{"CREATE SCHEMA IF NOT EXISTS " + quote.Ident(schema), "LOCK TABLE " + strings.Join(locked, ", ") + " IN ACCESS EXCLUSIVE MODE"}, slices.Concat(drops, moves)...)
	if err := d.briefly(ctx, fmt.Sprintf("archive tables of %s in %s database", name, d.side), strings.Join(script, ";\n")); err != nil {
		return nil, err
	}
	return did, nil
}

// Uninstall removes the schema strangler where no capability has anything in it
// any more; in the database of the active controller, all but what it leads by.
func (d *Database) Uninstall(ctx context.Context) error {
	return d.briefly(ctx, fmt.Sprintf("remove what strangler keeps in %s database", d.side), uninstallSQL)
}
