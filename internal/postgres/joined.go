package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// asks is a session, or a pool of them.
type asks interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// joinSQL is the query of a selection of two tables. Each is looked at by itself
// first: expressions write the names of their own table's columns bare. Condition and
// order are about the first.
func joinSQL(s migrate.Selection, only [2]string, equals []string, condition, order string) string {
	list, from := joinOf(s, only, equals, condition)
	sql := "SELECT " + strings.Join(list, ", ") + " FROM " + from
	if order != "" {
		sql += " ORDER BY " + order
	}
	return sql
}

// joinOf is what such a query selects, and from what: the first table is known as a,
// with its key under its names, and the second as b. Both have a version.
func joinOf(s migrate.Selection, only [2]string, equals []string, condition string) (list []string, sql string) {
	keys, on := [2]string{}, make([]string, len(s.On))
	for i, k := range s.On {
		keys[0] += fmt.Sprintf(", t.%s", quote.Ident(k[0].Name))
		keys[1] += fmt.Sprintf(`, t.%s AS "strangler key %d"`, quote.Ident(k[1].Name), i)
		on[i] = fmt.Sprintf(`a.%s %s b."strangler key %d"`, quote.Ident(k[0].Name), equals[i], i)
	}
	from := [2]string{}
	for i, one := range [2]migrate.Selection{s, *s.With} {
		named := make([]string, len(one.Terms))
		for n, term := range one.Terms {
			value := "t." + quote.Ident(term.Column)
			if term.SQL != "" {
				value = "(" + term.SQL + ")"
			}
			named[n] = fmt.Sprintf(`%s AS "strangler term %d %d"`, value, i, n)
			list = append(list, fmt.Sprintf(`%c."strangler term %d %d"`, 'a'+i, i, n))
		}
		if i == 1 {
			condition = ""
		}
		named = append(named, version+` AS "strangler version"`, settled+` AS "strangler settled"`)
		from[i] = "(SELECT " + strings.Join(named, ", ") + keys[i] + " FROM " + only[i] + quote.Relation(one.Relation) + " AS t" + conditions("WHERE", condition, unindexed(one.Where)) + ")"
	}
	return list, from[0] + " AS a JOIN " + from[1] + " AS b ON " + strings.Join(on, " AND ")
}

// version tells one version of a row from all others.
const version = "t.xmin::text || t.ctid::text || t.tableoid::text"

// settled says that nobody is about to change it, nor has and is only not visible yet.
const settled = "t.xmax::text = '0'"

// joined locks the other table of a selection as well, and returns the query.
func (r *rowReader) joined(ctx context.Context, s migrate.Selection, only, condition, order string) (string, error) {
	words, equals, err := r.other(ctx, s)
	if err != nil {
		return "", err
	}
	words[0] = only
	return joinSQL(s, words, equals, condition, order), nil
}

// other locks the other table of a selection until the transaction goes back to the
// savepoint, and returns how the two are joined.
func (r *rowReader) other(ctx context.Context, s migrate.Selection) (words [2]string, equals []string, err error) {
	for i, relation := range [2]migrate.Relation{s.Relation, s.With.Relation} {
		if err := r.conn.QueryRow(ctx, onlySQL, quote.Relation(relation)).Scan(&words[i]); err != nil {
			return words, nil, err
		}
	}
	if _, err := r.conn.PgConn().Exec(ctx, `LOCK TABLE `+words[1]+quote.Relation(s.With.Relation)+` IN ACCESS SHARE MODE`).ReadAll(); err != nil {
		return words, nil, err
	}
	if err := r.unwritten(ctx, s.With.Relation); err != nil {
		return words, nil, err
	}
	key := make([]migrate.KeyColumn, len(s.On))
	for i, on := range s.On {
		key[i] = on[0]
	}
	equals, err = equalities(ctx, r.conn, s.Relation, key)
	return words, equals, err
}

// Unpaired counts the rows of either table of a selection of two that have no partner
// in the other. It gives way to whoever waits for a lock of one.
func (r *rowReader) Unpaired(ctx context.Context, s migrate.Selection) (n migrate.Alone, err error) {
	watch := r.of.watchLock(ctx, r.conn.PgConn().PID(), nil)
	defer func() {
		if to := watch.end(); to != "" && err != nil {
			err = errors.Join(&migrate.YieldedError{Relation: s.Relation, To: to}, err)
		}
	}()
	only, err := r.lock(ctx, s.Relation)
	if err == nil {
		var words [2]string
		var equals []string
		if words, equals, err = r.other(ctx, s); err == nil {
			words[0] = only
			if _, err = r.conn.PgConn().Exec(ctx, sequentially).ReadAll(); err == nil {
				err = r.conn.QueryRow(ctx, unpairedSQL(s, words, equals)).Scan(&n[0], &n[1])
			}
		}
	}
	if err == nil {
		_, err = r.conn.Exec(ctx, `ROLLBACK TO SAVEPOINT ordered`)
	}
	if err != nil {
		return n, fmt.Errorf("compare the keys of %s and %s: %w", s.Relation, s.With.Relation, err)
	}
	return n, nil
}

// unpairedSQL counts what each table has alone.
func unpairedSQL(s migrate.Selection, only [2]string, equals []string) string {
	on := make([]string, len(s.On))
	for i, k := range s.On {
		on[i] = fmt.Sprintf("a.%s %s b.%s", quote.Ident(k[0].Name), equals[i], quote.Ident(k[1].Name))
	}
	alone := func(one, other string) string {
		return "(SELECT count(*) FROM " + one + " WHERE NOT EXISTS (SELECT FROM " + other + " WHERE " + strings.Join(on, " AND ") + "))"
	}
	a, b := only[0]+quote.Relation(s.Relation)+" AS a", only[1]+quote.Relation(s.With.Relation)+" AS b"
	return "SELECT " + alone(a, b) + ", " + alone(b, a)
}

// joinedRows is what is selected of two tables beside the numbers of rows that are
// asked for, and from what. Key and equalities are the first table's.
func (d *Database) joinedRows(ctx context.Context, s migrate.Selection, only string, equals []string) (what, from string, err error) {
	other, err := d.only(ctx, s.With.Relation)
	if err != nil {
		return "", "", err
	}
	list, from := joinOf(s, [2]string{only, other}, equals, "")
	return strings.Join(append([]string{`a."strangler version" || ' ' || b."strangler version"`, `a."strangler settled" AND b."strangler settled"`}, list...), ", "), "(" + from + ")", nil
}

// joinedChunk locks the other table of a chunk's selection, and returns the query. Its
// rows must be in the file that the snapshot has seen.
func joinedChunk(ctx context.Context, conn *pgx.Conn, s migrate.Selection, chunk migrate.Chunk) (sql string, err error) {
	r := &rowReader{conn: conn}
	words, equals, err := r.other(ctx, s)
	if err != nil {
		return "", err
	}
	words[0] = "ONLY "
	return `COPY (` + joinSQL(s, words, equals, blocks(chunk), "") + `) TO STDOUT`, nil
}
