package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/apply"
	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// repairBytes is how much of a repair is kept here before it is put aside in the
// database.
const repairBytes = 1 << 20

// repair makes rows of one table those of another database. What it is told it
// keeps in temporary tables of its session, however much it is.
type repair struct {
	*rowWriter
	ctx     context.Context //nolint:containedctx // Put and Remove are called for every row that differs, and take none
	mapping migrate.Mapping
	equals  map[string]string
	put     bytes.Buffer // lines for strangler_put
	remove  bytes.Buffer // lines for strangler_gone
}

// OpenRepair opens a session that repairs one table, and that is of no use when
// ctx ends. Its writes carry an origin
// of their own, like those of a backfill's worker.
func (d *Database) OpenRepair(ctx context.Context, name string, from capability.Side, m migrate.Mapping) (migrate.Repair, error) {
	w, err := d.openWriter(ctx, name, from, migrate.Workers)
	if err != nil {
		return nil, err
	}
	r := &repair{rowWriter: w, ctx: ctx, mapping: m}
	if r.equals, err = apply.ForeignEquals(ctx, w.conn, m.To); err == nil {
		for _, statement := range []string{
			`CREATE TEMP TABLE strangler_put AS SELECT ` + quote.Idents(m.ToColumns) + ` FROM ` + quote.Relation(m.To.Relation) + ` WITH NO DATA`,
			`CREATE TEMP TABLE strangler_gone AS SELECT ` + quote.Idents(m.ToKey) + ` FROM ` + quote.Relation(m.To.Relation) + ` WITH NO DATA`,
			`CREATE TEMP TABLE strangler_old (LIKE ` + quote.Relation(m.To.Relation) + `)`,
		} {
			if _, err = w.conn.Exec(ctx, statement); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare to repair %s in %s database: %w", m.To.Relation, d.side, err), w.Close())
	}
	return r, nil
}

// Put takes a row as the source has it.
func (r *repair) Put(line []byte) error { return r.keep(&r.put, line) }

// Remove takes the key of a row of the target.
func (r *repair) Remove(key []byte) error { return r.keep(&r.remove, key) }

func (r *repair) keep(b *bytes.Buffer, line []byte) error {
	b.Write(line)
	b.WriteByte('\n')
	if b.Len() < repairBytes {
		return nil
	}
	return r.flush(r.ctx)
}

func (r *repair) flush(ctx context.Context) error {
	for table, b := range map[string]*bytes.Buffer{"strangler_put": &r.put, "strangler_gone": &r.remove} {
		if b.Len() == 0 {
			continue
		}
		if _, err := r.conn.PgConn().CopyFrom(ctx, b, `COPY pg_temp.`+table+` FROM STDIN`); err != nil {
			return fmt.Errorf("keep rows of %s to repair: %w", r.mapping.To.Relation, sqlstate.Describe(err))
		}
		b.Reset()
	}
	return nil
}

// Commit deletes what is to go or to be replaced, and inserts what is to be
// there, so that rows may take over unique values from one another. Columns that
// only the target has keep their values.
func (r *repair) Commit(ctx context.Context) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	table, columns := quote.Relation(r.mapping.To.Relation), quote.Idents(r.mapping.ToColumns)
	err := pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		if err := r.pass(ctx); err != nil {
			return err
		}
		// A row that a damaged index does not find would be written beside itself.
		if _, err := tx.Conn().PgConn().Exec(ctx, sequentially).ReadAll(); err != nil {
			return err
		}
		all, values := r.whole()
		for _, statement := range []string{
			`WITH gone AS (DELETE FROM ` + table + ` AS t USING (SELECT DISTINCT * FROM pg_temp.strangler_gone) AS k WHERE ` + r.on("t", "k") + r.guard() + ` RETURNING t.*)
				INSERT INTO pg_temp.strangler_old SELECT * FROM gone`,
			`INSERT INTO ` + table + ` (` + all + `) OVERRIDING SYSTEM VALUE SELECT ` + values + ` FROM pg_temp.strangler_put AS p JOIN pg_temp.strangler_old AS o ON ` + r.on("p", "o"),
			`INSERT INTO ` + table + ` (` + columns + `) OVERRIDING SYSTEM VALUE SELECT ` + columns + ` FROM pg_temp.strangler_put AS p
				WHERE NOT EXISTS (SELECT FROM pg_temp.strangler_old AS o WHERE ` + r.on("p", "o") + `)`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("repair %s: %w", r.mapping.To.Relation, sqlstate.Describe(err))
	}
	return nil
}

// whole lists all columns of the target that can be written, and where their
// values come from: p is the source's row, o the one that was there.
func (r *repair) whole() (columns, values string) {
	var names, from []string
	for _, c := range r.mapping.To.Columns {
		if c.Generated {
			continue
		}
		name, row := quote.Ident(c.Name), "o."
		if slices.Contains(r.mapping.ToColumns, c.Name) {
			row = "p."
		}
		names, from = append(names, name), append(from, row+name)
	}
	return strings.Join(names, ", "), strings.Join(from, ", ")
}

// guard leaves alone what is in the target besides the rows that move.
func (r *repair) guard() string {
	if r.mapping.Guard == nil {
		return ""
	}
	return ` AND EXISTS (SELECT FROM (SELECT t.*) AS it WHERE (` + r.mapping.Guard.SQL + `))`
}

// on joins two of the tables by the target's key.
func (r *repair) on(a, b string) string {
	terms := make([]string, len(r.mapping.ToKey))
	for i, name := range r.mapping.ToKey {
		operator := "="
		if schema, ok := r.equals[name]; ok {
			operator = "OPERATOR(" + quote.Ident(schema) + ".=)"
		}
		terms[i] = a + "." + quote.Ident(name) + " " + operator + " " + b + "." + quote.Ident(name)
	}
	return strings.Join(terms, " AND ")
}
