package postgres

import (
	"context"
	"errors"
	"fmt"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// orphansSQL writes the query for the rows that a foreign key is not true for, as PostgreSQL
// does where it validates one: with the operators and the collation of the key. $1
// names the table, in quotes, and $2 the constraint.
const orphansSQL = `
SELECT format('FROM %s%s f WHERE (%s) AND NOT EXISTS (SELECT FROM %s%s r WHERE %s)',
              CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, format('%I.%I', cn.nspname, c.relname),
              string_agg(format('f.%I IS NOT NULL', ca.attname), CASE k.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY u.i),
              CASE t.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, format('%I.%I', tn.nspname, t.relname),
              string_agg(format('r.%I OPERATOR(%I.%s) f.%I', ra.attname, n.nspname, o.oprname, ca.attname)
                         || CASE WHEN ra.attcollation <> ca.attcollation THEN (SELECT format(' COLLATE %I.%I', ln.nspname, l.collname) FROM pg_collation l JOIN pg_namespace ln ON ln.oid = l.collnamespace WHERE l.oid = ra.attcollation) ELSE '' END,
                         ' AND ' ORDER BY u.i))
FROM pg_constraint k CROSS JOIN unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS u(c, r, op, i)
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = u.c JOIN pg_attribute ra ON ra.attrelid = k.confrelid AND ra.attnum = u.r
JOIN pg_operator o ON o.oid = u.op JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE k.contype = 'f' AND k.conname = $2 AND k.conrelid = $1::text::regclass GROUP BY k.oid, k.confmatchtype, c.relkind, cn.nspname, c.relname, t.relkind, tn.nspname, t.relname`

// orphans counts the rows that a foreign key is not true for; show is the query for them.
func orphans(ctx context.Context, q asks, table migrate.Relation, key string) (count int64, show string, err error) {
	var rows string
	err = q.QueryRow(ctx, orphansSQL, quote.Relation(table), key).Scan(&rows)
	if err == nil {
		err = q.QueryRow(ctx, "SELECT count(*) "+rows).Scan(&count)
	}
	return count, "SELECT f.* " + rows, err
}

// Orphans counts the rows that a foreign key is not true for. It gives way to whoever
// waits for a lock of one of the two tables.
func (r *rowReader) Orphans(ctx context.Context, k migrate.ForeignKey) (count int64, show string, err error) {
	watch := r.of.watchLock(ctx, r.conn.PgConn().PID(), nil)
	defer func() {
		if to := watch.end(); to != "" && err != nil {
			err = errors.Join(&migrate.YieldedError{Relation: k.From, To: to}, err)
		}
	}()
	_, err = r.lock(ctx, k.From)
	if err == nil {
		count, show, err = orphans(ctx, r.conn, k.From, k.Name)
	}
	if err == nil {
		_, err = r.conn.Exec(ctx, `ROLLBACK TO SAVEPOINT ordered`)
	}
	if err != nil {
		return 0, "", fmt.Errorf("count the rows that foreign key %s of %s is not true for: %w", k.Name, k.From, err)
	}
	return count, show, nil
}
