package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// rowReader is a session in one REPEATABLE READ transaction.
type rowReader struct {
	conn *pgx.Conn
	of   *Database
}

// OpenRows opens a session that sees one snapshot: an exported one by its name,
// or the present one. It holds the snapshot, and so the horizon of vacuum, until
// it is closed.
func (d *Database) OpenRows(ctx context.Context, snapshot string) (migrate.Reader, error) {
	// Sorting by the bytes of the key can use no index where the key is text.
	conn, err := d.connect(ctx, map[string]string{"work_mem": "64MB"})
	if err != nil {
		return nil, err
	}
	begin := `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; `
	if snapshot != "" {
		begin += `SET TRANSACTION SNAPSHOT ` + quote.Literal(snapshot)
	} else {
		begin += `SELECT pg_current_snapshot()` // the first query takes it
	}
	r := &rowReader{conn: conn, of: d}
	if _, err := conn.PgConn().Exec(ctx, begin).ReadAll(); err != nil {
		return nil, errors.Join(fmt.Errorf("take a snapshot of %s database: %w", d.side, err), r.Close())
	}
	return r, nil
}

// Ordered writes the selected rows of a table in the order of the key, from behind the key
// with the values of after on where that is not nil. The table is locked while it
// is read and no longer, and is not read where its rows are not those of the
// snapshot any more: a truncation is seen by snapshots that are older. It gives way to
// whoever waits for the lock.
func (r *rowReader) Ordered(ctx context.Context, w io.Writer, s migrate.Selection, key []migrate.KeyColumn, after []string, ask func(to string)) error {
	watch := r.of.watchLock(ctx, r.conn.PgConn().PID(), ask)
	err := r.ordered(ctx, w, s, key, after)
	if to := watch.end(); to != "" && err != nil {
		err = errors.Join(&migrate.YieldedError{Relation: s.Relation, To: to}, err)
	}
	return err
}

func (r *rowReader) ordered(ctx context.Context, w io.Writer, s migrate.Selection, key []migrate.KeyColumn, after []string) error {
	order, values := make([]string, len(key)), make([]string, len(after))
	for i, k := range key {
		plain := k.Number() || k.Type == "uuid" // the order of uuid is that of its text
		order[i] = quote.Ident(k.Name)
		switch {
		case plain:
		case k.Type == "text", strings.HasPrefix(k.Type, "character varying"): // an index may serve
			order[i] += `::text COLLATE pg_catalog."C"`
		default:
			// What COPY writes, which is not always what a cast to text makes: of inet,
			// boolean and character, for example.
			order[i] = `pg_catalog.concat(` + order[i] + `) COLLATE pg_catalog."C"`
		}
		if after != nil {
			values[i] = quote.Literal(after[i])
			if plain {
				values[i] += "::" + k.Type
			}
		}
	}
	only, err := r.lock(ctx, s.Relation)
	if err != nil {
		return fmt.Errorf("read %s in order: %w", s.Relation, err)
	}
	where := ""
	if after != nil {
		where = `(` + strings.Join(order, ", ") + `) > (` + strings.Join(values, ", ") + `)`
	}
	sql := selectSQL(s, only, "t", where, strings.Join(order, ", "))
	if s.With != nil {
		if sql, err = r.joined(ctx, s, only, where, strings.Join(order, ", ")); err != nil {
			return fmt.Errorf("read %s and %s in order: %w", s.Relation, s.With.Relation, err)
		}
	}
	_, err = r.conn.PgConn().CopyTo(ctx, w, `COPY (`+sql+`) TO STDOUT`)
	if err == nil {
		_, err = r.conn.Exec(ctx, `ROLLBACK TO SAVEPOINT ordered`)
	}
	if err != nil {
		return fmt.Errorf("read %s in order: %w", s.Relation, sqlstate.Describe(err))
	}
	return nil
}

// Count counts the rows of a selection without any index. It gives way to whoever
// waits for the lock of its table.
func (r *rowReader) Count(ctx context.Context, s migrate.Selection) (n int64, err error) {
	watch := r.of.watchLock(ctx, r.conn.PgConn().PID(), nil)
	if n, err = r.count(ctx, s); err != nil {
		err = fmt.Errorf("count the rows of %s: %w", s.Relation, sqlstate.Describe(err))
	}
	if to := watch.end(); to != "" && err != nil {
		err = errors.Join(&migrate.YieldedError{Relation: s.Relation, To: to}, err)
	}
	return n, err
}

func (r *rowReader) count(ctx context.Context, s migrate.Selection) (n int64, err error) {
	only, err := r.lock(ctx, s.Relation)
	if err != nil {
		return 0, err
	}
	s.Terms = nil
	sql := selectSQL(s, only, "t", "", "")
	if s.With != nil {
		with := *s.With
		with.Terms, s.With = nil, &with
		if sql, err = r.joined(ctx, s, only, "", ""); err != nil {
			return 0, err
		}
	}
	if _, err := r.conn.PgConn().Exec(ctx, sequentially).ReadAll(); err != nil {
		return 0, err
	}
	if err := r.conn.QueryRow(ctx, `SELECT count(*) FROM (`+sql+`) AS counted`).Scan(&n); err != nil {
		return 0, err
	}
	_, err = r.conn.Exec(ctx, `ROLLBACK TO SAVEPOINT ordered`)
	return n, err
}

// lock takes a table's lock, until the transaction goes back to the savepoint, and
// holds the files that the table has now against those of the snapshot.
func (r *rowReader) lock(ctx context.Context, table migrate.Relation) (only string, err error) {
	if err := r.conn.QueryRow(ctx, onlySQL, quote.Relation(table)).Scan(&only); err != nil {
		return "", err
	}
	if _, err := r.conn.PgConn().Exec(ctx, `SAVEPOINT ordered; LOCK TABLE `+only+quote.Relation(table)+` IN ACCESS SHARE MODE`).ReadAll(); err != nil {
		return "", err
	}
	return only, r.unwritten(ctx, table)
}

// unwritten makes sure that a table that is locked has the rows of the snapshot.
func (r *rowReader) unwritten(ctx context.Context, table migrate.Relation) error {
	var whole bool
	err := r.conn.QueryRow(ctx, `SELECT coalesce(bool_and(c.relfilenode = coalesce(pg_relation_filenode(c.oid), 0)), false) FROM pg_class c, (SELECT $1::text::regclass AS oid) t
		WHERE c.oid = t.oid OR c.oid IN (SELECT relid FROM pg_partition_tree(t.oid))`, quote.Relation(table)).Scan(&whole)
	if err == nil && !whole {
		err = migrate.ErrRewritten
	}
	return err
}

// Close ends the session and gives the snapshot back.
func (r *rowReader) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.conn.Close(ctx)
}

// ByKey returns the rows with the given keys, in the order of the keys. Values
// are text, as COPY writes them but for its escapes. A row is settled while no
// transaction has marked it: whoever changes or deletes it does that before he
// commits. One that was only locked, or whose change was undone, may stay marked.
func (d *Database) ByKey(ctx context.Context, s migrate.Selection, key []migrate.KeyColumn, keys [][]string) ([]migrate.Found, error) {
	arrays, names := make([]string, len(key)), make([]string, len(key))
	// Described each time: a plan that is kept does not survive that the table is altered.
	on, args := make([]string, len(key)), []any{pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{pgx.TextFormatCode}}
	for i := range key {
		values := make([]string, len(keys))
		for j := range keys {
			values[j] = keys[j][i]
		}
		args = append(args, values)
		// Names that no column has: the selection's expressions write theirs bare.
		arrays[i], names[i] = fmt.Sprintf("$%d::text[]", i+1), fmt.Sprintf(`"strangler key %d"`, i+1)
	}
	equals, err := equalities(ctx, d.pool, s.Relation, key)
	if err != nil {
		return nil, err
	}
	first := "t"
	if s.With != nil {
		first = "a"
	}
	for i, k := range key {
		on[i] = fmt.Sprintf("%s.%s %s u.%s::%s", first, quote.Ident(k.Name), equals[i], names[i], k.Type)
	}
	only, err := d.only(ctx, s.Relation)
	if err != nil {
		return nil, err
	}
	width := len(s.Terms)
	what, from, where := version+", "+settled+", "+terms(s, "t"), only+quote.Relation(s.Relation)+` AS t`, conditions("WHERE", unindexed(s.Where))
	if s.With != nil {
		if what, from, err = d.joinedRows(ctx, s, only, equals); err != nil {
			return nil, err
		}
		where, width = "", width+len(s.With.Terms)
	}
	found, err := d.pool.Query(ctx, `SELECT u."strangler row", `+what+` FROM unnest(`+strings.Join(arrays, ", ")+`) WITH ORDINALITY AS u(`+strings.Join(names, ", ")+`, "strangler row") JOIN `+from+` ON `+strings.Join(on, " AND ")+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s in %s database: %w", s.Relation, d.side, sqlstate.Describe(err))
	}
	defer found.Close()
	rows := make([]migrate.Found, len(keys))
	for found.Next() {
		raw := found.RawValues() // valid until the next row
		var n int
		if _, err := fmt.Sscan(string(raw[0]), &n); err != nil || n < 1 || n > len(rows) {
			return nil, fmt.Errorf("read rows of %s in %s database: row number %q", s.Relation, d.side, raw[0])
		}
		row := migrate.Found{Version: string(raw[1]), Settled: string(raw[2]) == "t", Values: make([][]byte, width)}
		for i, v := range raw[3:] {
			if v != nil {
				row.Values[i] = append([]byte{}, v...)
			}
		}
		rows[n-1] = row
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read rows of %s in %s database: %w", s.Relation, d.side, sqlstate.Describe(err))
	}
	return rows, nil
}

// equalities are the operators by which unique indexes compare the columns of a key.
// Those of an extension's type are not found through an empty search_path, or
// another type's are, which find other rows.
func equalities(ctx context.Context, conn asks, table migrate.Relation, key []migrate.KeyColumn) ([]string, error) {
	list := make([]string, len(key))
	for i, k := range key {
		list[i] = "="
		if !strings.Contains(k.Type, ".") { // built in: others are told with their schema
			continue
		}
		err := conn.QueryRow(ctx, `SELECT coalesce(min(format('OPERATOR(%I.=)', n.nspname)), '=')
			FROM pg_index i CROSS JOIN unnest(i.indkey::int2[], i.indclass::oid[]) AS k(attnum, opclass)
			JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum JOIN pg_opclass c ON c.oid = k.opclass
			JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype AND o.amopstrategy = 3
			JOIN pg_operator p ON p.oid = o.amopopr JOIN pg_namespace n ON n.oid = p.oprnamespace
			WHERE i.indrelid = $1::text::regclass AND i.indisunique AND a.attname = $2`, quote.Relation(table), k.Name).Scan(&list[i])
		if err != nil {
			return nil, fmt.Errorf("read key of %s: %w", table, err)
		}
	}
	return list, nil
}
