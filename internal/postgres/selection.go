package postgres

import (
	"fmt"
	"strings"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// selectSQL is the query of a selection for COPY: from the table's own rows where
// only says so, or from its partitions'. It is known by alias; conditions and order
// may be empty.
func selectSQL(s migrate.Selection, only, alias, condition, order string) string {
	sql := "SELECT " + terms(s, alias) + " FROM " + only + quote.Relation(s.Relation) + " AS " + alias + conditions("WHERE", condition, unindexed(s.Where))
	if order != "" {
		sql += " ORDER BY " + order
	}
	return sql
}

// terms lists what is selected. Expressions write the names of columns bare, and
// get names that no column has: PostgreSQL would find theirs in an ORDER BY.
func terms(s migrate.Selection, alias string) string {
	list := make([]string, len(s.Terms))
	for i, term := range s.Terms {
		if term.SQL == "" {
			list[i] = alias + "." + quote.Ident(term.Column)
		} else {
			list[i] = fmt.Sprintf(`(%s) AS "strangler term %d"`, term.SQL, i)
		}
	}
	return strings.Join(list, ", ")
}

// unindexed is a condition that no index is asked for: one whose collation has changed
// under it does not find all rows, and what neither the backfill nor a verification
// finds is lost without a word.
func unindexed(where string) string {
	if where == "" {
		return ""
	}
	return "CASE WHEN (" + where + ") THEN true END"
}

// sequentially ends the use of indexes until the transaction, or its savepoint, does.
const sequentially = `SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off`

// conditions joins those that are there behind a word, or says nothing.
func conditions(word string, list ...string) string {
	var all []string
	for _, condition := range list {
		if condition != "" {
			all = append(all, "("+condition+")")
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " " + word + " " + strings.Join(all, " AND ")
}
