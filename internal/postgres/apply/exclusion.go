package apply

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// exclusionsSQL reads the indexes of a table and of its partitions that keep rows from
// being there together, with the names of their columns, and whether one is the key's.
// One is obscure whose equal values need not be written alike, or whose values are not
// those of columns: numbers and characters are written alike where the column says how,
// texts where their collation tells all of them apart.
const exclusionsSQL = `
	SELECT CASE WHEN $2::text = '' THEN i.indisprimary ELSE x.relname = $2::text END,
		coalesce((to_jsonb(i)->>'indnullsnotdistinct')::bool, false),
		i.indisexclusion OR 0 = ANY(i.indkey::int2[]) OR bool_or(NOT c.opcdefault OR NOT coalesce(l.collisdeterministic, true) OR NOT (
			t.typtype = 'e' OR t.typnamespace = 'pg_catalog'::regnamespace AND (
				t.typname = ANY('{int2,int4,int8,oid,uuid,bool,bytea,text,varchar,name,date,time,timestamp,timestamptz}') OR t.typname IN ('numeric', 'bpchar') AND a.atttypmod >= 0))),
		array_agg(coalesce(a.attname::text, '') ORDER BY k.n)
	FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
	CROSS JOIN unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[]) WITH ORDINALITY AS k(attnum, opclass, collated, n)
	LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
	LEFT JOIN pg_type t ON t.oid = a.atttypid
	LEFT JOIN pg_opclass c ON c.oid = k.opclass
	LEFT JOIN pg_collation l ON l.oid = k.collated
	WHERE (i.indisunique OR i.indisexclusion) AND k.n <= i.indnkeyatts
	  AND (i.indrelid = $1::text::regclass OR i.indrelid IN (SELECT relid FROM pg_partition_tree($1::text::regclass)))
	GROUP BY i.indexrelid, x.relname, i.indisprimary, i.indisexclusion, i.indkey, to_jsonb(i)->>'indnullsnotdistinct'`

// exclusions says how rows of the mapping's target exclude one another, nil where the
// values of changes do not tell; and whether they do by more than their key.
func exclusions(ctx context.Context, conn *pgx.Conn, m migrate.Mapping) (e migrate.Exclusion, more bool, err error) {
	told := m.Plain() && len(m.Halves) == 0 && len(m.ToKey) > 0
	if told {
		e = migrate.Exclusion{{Columns: positions(m, m.ToKey)}}
		told = !slices.Contains(e[0].Columns, -1)
	}
	rows, err := conn.Query(ctx, exclusionsSQL, quote.Relation(m.To.Relation), m.To.KeyIndex)
	if err != nil {
		return nil, false, fmt.Errorf("read indexes of %s: %w", m.To.Relation, err)
	}
	var own, nulls, obscure bool
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&own, &nulls, &obscure, &columns}, func() error {
		more = more || !own
		if told = told && !obscure; !told {
			return nil
		}
		at := positions(m, columns)
		told = !slices.Contains(at, -1)
		if !slices.ContainsFunc(e, func(d migrate.Distinct) bool { return slices.Equal(d.Columns, at) && d.Nulls == nulls }) {
			e = append(e, migrate.Distinct{Columns: at, Nulls: nulls})
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("read indexes of %s: %w", m.To.Relation, err)
	}
	if !told {
		e = nil
	}
	return e, more, nil
}

// positions are those of columns in what the mapping writes; -1: it does not, or what
// it writes is of another type, and may be written differently.
func positions(m migrate.Mapping, names []string) []int {
	integers := []string{"smallint", "integer", "bigint"}
	at := make([]int, len(names))
	for i, name := range names {
		if at[i] = slices.Index(m.ToColumns, name); at[i] < 0 {
			continue
		}
		from, _ := m.From.Column(m.FromColumns[at[i]])
		to, _ := m.To.Column(name)
		alike := from.Type == to.Type || slices.Contains(integers, from.Type) && slices.Contains(integers, to.Type)
		if !alike {
			at[i] = -1
		}
	}
	return at
}
