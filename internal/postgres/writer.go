package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/apply"
	"strangler/internal/postgres/outbox"
	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// rowWriter is a session that writes into the tables of a capability past their
// guards. It is for one goroutine.
type rowWriter struct {
	conn       *pgx.Conn
	capability string
}

// OpenWriter opens a session that writes rows of the capability: it passes the
// guards, fires no ordinary trigger, and what it writes carries an origin of the
// worker's own. It waits up to ten seconds for an earlier session of the worker
// to end.
func (d *Database) OpenWriter(ctx context.Context, name string, from capability.Side, worker int) (migrate.Writer, error) {
	return d.openWriter(ctx, name, from, worker)
}

func (d *Database) openWriter(ctx context.Context, name string, from capability.Side, worker int) (*rowWriter, error) {
	conn, err := d.connect(ctx, map[string]string{"application_name": "strangler " + name, outbox.Applying: name})
	if err != nil {
		return nil, err
	}
	w := &rowWriter{conn: conn, capability: name}
	if err := w.prepare(ctx, migrate.CopyOriginName(name, from, worker)); err != nil {
		return nil, errors.Join(fmt.Errorf("open a writing session for %s in %s database: %w", name, d.side, err), w.Close())
	}
	return w, nil
}

func (w *rowWriter) prepare(ctx context.Context, origin string) error {
	if _, err := w.conn.Exec(ctx, `SET session_replication_role = replica`); err != nil {
		return err
	}
	_, err := w.conn.Exec(ctx, `SELECT pg_replication_origin_create($1) WHERE pg_replication_origin_oid($1) IS NULL`, origin)
	if err != nil && sqlstate.Of(err) != "23505" { // somebody else was first
		return err
	}
	for give := time.Now().Add(10 * time.Second); ; {
		_, err := w.conn.Exec(ctx, `SELECT pg_replication_origin_session_setup($1)`, origin)
		if err == nil || sqlstate.Of(err) != inUse || time.Now().After(give) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Close ends the session.
func (w *rowWriter) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return w.conn.Close(ctx)
}

// pass takes the present epoch of the gate: the guards let nobody else through.
// A capability without moved tables has no gate.
func (w *rowWriter) pass(ctx context.Context) error {
	return apply.PassGuards(ctx, w.conn, w.capability)
}

// WriteChunk commits the lines of a chunk together with the record of it: straight
// into the table, or with merge through a temporary one.
func (w *rowWriter) WriteChunk(ctx context.Context, r io.Reader, mapping migrate.Mapping, chunk migrate.Chunk, merge bool) (rows int64, err error) {
	into := quote.Relation(mapping.To.Relation)
	columns := quote.Idents(mapping.ToColumns)
	err = pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		if err := w.pass(ctx); err != nil {
			return err
		}
		target := into
		if merge {
			target = "pg_temp.strangler_chunk"
			if _, err := tx.Exec(ctx, `CREATE TEMPORARY TABLE strangler_chunk ON COMMIT DROP AS SELECT `+columns+` FROM ONLY `+into+` WITH NO DATA`); err != nil {
				return err
			}
		}
		tag, err := w.conn.PgConn().CopyFrom(ctx, r, `COPY `+target+` (`+columns+`) FROM STDIN`)
		if err != nil {
			return err
		}
		rows = tag.RowsAffected()
		if merge {
			if _, err := tx.Exec(ctx, apply.Merge(mapping, target)); err != nil {
				return err
			}
		}
		// Somebody who was killed may have finished the chunk since it was looked for.
		_, err = tx.Exec(ctx, `INSERT INTO strangler.chunk (capability, relation, leaf, low, high, rows, file) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (capability, relation, leaf, low) DO UPDATE SET high = excluded.high, rows = excluded.rows, file = excluded.file`,
			w.capability, chunkRelation(mapping.To.Relation), chunkRelation(chunk.Leaf), chunk.Low, chunk.High, rows, chunk.File)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", mapping.To.Relation, sqlstate.Describe(err))
	}
	return rows, nil
}

// Empty removes all rows of the tables and the records of their chunks, in one
// transaction.
func (w *rowWriter) Empty(ctx context.Context, relations []migrate.Relation) error {
	err := pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		if err := w.pass(ctx); err != nil {
			return err
		}
		if err := clearTables(ctx, tx, relations); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM strangler.chunk WHERE capability = $1`, w.capability)
		return err
	})
	if err != nil {
		return fmt.Errorf("empty the tables of %s: %w", w.capability, sqlstate.Describe(err))
	}
	return nil
}

// clearTables truncates the tables together, or deletes their rows where a table
// that stays refers to one of them: PostgreSQL refuses to truncate that, even
// when both are empty.
func clearTables(ctx context.Context, tx pgx.Tx, relations []migrate.Relation) error {
	if len(relations) == 0 {
		return nil
	}
	tables := make([]string, len(relations))
	for i, r := range relations {
		tables[i] = quote.Relation(r)
	}
	var referred bool
	// A partitioned table is emptied with its partitions, whose keys are its own.
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
		AND confrelid = ANY($1::text[]::regclass[]) AND conrelid <> ALL($1::text[]::regclass[])),
		ARRAY(SELECT CASE WHEN relkind = 'p' THEN '' ELSE 'ONLY ' END || t FROM unnest($1::text[]) t JOIN pg_class ON oid = t::regclass)`, tables).Scan(&referred, &tables)
	if err != nil {
		return err
	}
	if !referred {
		_, err := tx.Exec(ctx, `TRUNCATE `+strings.Join(tables, ", "))
		return err
	}
	for _, table := range tables {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table); err != nil {
			return err
		}
	}
	return nil
}
