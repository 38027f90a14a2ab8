package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// Sequences returns the sequences behind the columns of the tables: those that
// belong to a column, and those that its default draws from without belonging
// to it. One that fills several columns is told once for each.
func (d *Database) Sequences(ctx context.Context, relations []migrate.Relation) ([]migrate.Sequence, error) {
	rows, err := d.pool.Query(ctx, `
		SELECT sn.nspname::text, s.relname::text, n.nspname::text, c.relname::text, a.attname::text, bool_or(d.identity), bool_or(d.owned),
		       format_type(q.seqtypid, NULL), q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, q.seqcycle
		FROM unnest($1::text[], $2::text[]) AS w(schema, name)
		JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN LATERAL (
			SELECT objid AS sequence, deptype = 'i' AS identity, true AS owned FROM pg_depend
			WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = a.attrelid AND refobjsubid = a.attnum AND deptype IN ('a', 'i')
			UNION ALL
			SELECT p.refobjid, false, false FROM pg_attrdef f JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = f.oid AND p.refclassid = 'pg_class'::regclass
			WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum
		) d ON true
		JOIN pg_class s ON s.oid = d.sequence AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
		JOIN pg_sequence q ON q.seqrelid = s.oid
		GROUP BY sn.nspname, s.relname, n.nspname, c.relname, a.attname, a.attnum, q.seqrelid, q.seqtypid, q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, q.seqcycle
		ORDER BY n.nspname, c.relname, a.attnum, s.relname`, schemas(relations), names(relations))
	if err != nil {
		return nil, fmt.Errorf("list sequences of %s database: %w", d.side, err)
	}
	sequences, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s migrate.Sequence, err error) {
		return s, row.Scan(&s.Schema, &s.Name, &s.Table.Schema, &s.Table.Name, &s.Column, &s.Identity, &s.Owned,
			&s.Type, &s.Increment, &s.Min, &s.Max, &s.Start, &s.Cached, &s.Cycle)
	})
	if err != nil {
		return nil, fmt.Errorf("list sequences of %s database: %w", d.side, err)
	}
	if err := d.standing(ctx, sequences); err != nil {
		return nil, fmt.Errorf("read sequences of %s database: %w", d.side, err)
	}
	return sequences, nil
}

// standing reads where sequences stand. The catalog's own view does not tell a
// sequence that was set from one that was never used.
func (d *Database) standing(ctx context.Context, sequences []migrate.Sequence) error {
	if len(sequences) == 0 {
		return nil
	}
	var parts []string
	for i, s := range sequences {
		parts = append(parts, fmt.Sprintf("SELECT %d, last_value, is_called FROM %s", i, quote.Relation(s.Relation)))
	}
	rows, err := d.pool.Query(ctx, strings.Join(parts, " UNION ALL "))
	if err != nil {
		return err
	}
	var i int
	var last int64
	var called bool
	_, err = pgx.ForEachRow(rows, []any{&i, &last, &called}, func() error {
		sequences[i].Last, sequences[i].Called = last, called
		return nil
	})
	return err
}

// Extreme returns the value of the sequence's column that is furthest in the
// sequence's direction; found is false for an empty table. It is fast where an
// index leads with the column and reads the table where none does.
func (d *Database) Extreme(ctx context.Context, s migrate.Sequence) (value int64, found bool, err error) {
	function := "max"
	if s.Increment < 0 {
		function = "min"
	}
	only, err := d.only(ctx, s.Table)
	if err != nil {
		return 0, false, err
	}
	var extreme *int64
	err = d.pool.QueryRow(ctx, `SELECT `+function+`(`+quote.Ident(s.Column)+`)::bigint FROM `+only+quote.Relation(s.Table)).Scan(&extreme)
	if err != nil {
		return 0, false, fmt.Errorf("find the last %s of %s in %s database: %w", s.Column, s.Table, d.side, err)
	}
	if extreme == nil {
		return 0, false, nil
	}
	return *extreme, true, nil
}

// SetSequence makes value the one that the sequence has handed out last.
func (d *Database) SetSequence(ctx context.Context, s migrate.Relation, value int64) error {
	if _, err := d.pool.Exec(ctx, `SELECT setval($1::text::regclass, $2, true)`, quote.Relation(s), value); err != nil {
		return fmt.Errorf("set sequence %s of %s database: %w", s, d.side, err)
	}
	return nil
}
