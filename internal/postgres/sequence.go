package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// sequenceSQL are the parameters of a sequence: s in pg_class, q in pg_sequence and
// sn, its schema; and what the role lacks to read it and set it.
const (
	sequenceSQL = `sn.nspname::text, s.relname::text, format_type(q.seqtypid, NULL), q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, q.seqcycle,
		concat_ws('; ', CASE WHEN NOT has_schema_privilege(sn.oid, 'USAGE') THEN format('GRANT USAGE ON SCHEMA %I TO %I', sn.nspname, current_user) END,
			CASE WHEN NOT has_sequence_privilege(s.oid, 'SELECT') OR NOT has_sequence_privilege(s.oid, 'UPDATE') THEN format('GRANT SELECT, UPDATE ON SEQUENCE %I.%I TO %I', sn.nspname, s.relname, current_user) END)`
	sequenceGroup = `sn.oid, sn.nspname, s.oid, s.relname, q.seqtypid, q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, q.seqcycle`
)

// parameters are the places for sequenceSQL.
func parameters(s *migrate.Sequence) []any {
	return []any{&s.Schema, &s.Name, &s.Type, &s.Increment, &s.Min, &s.Max, &s.Start, &s.Cached, &s.Cycle, &s.Grant}
}

// Sequences returns the sequences behind the columns of the tables: those that
// belong to a column, and those that its default draws from without belonging
// to it. One that fills several columns is told once for each.
func (d *Database) Sequences(ctx context.Context, relations []migrate.Relation) ([]migrate.Sequence, error) {
	return d.sequences(ctx, `
		SELECT `+sequenceSQL+`, n.nspname::text, c.relname::text, a.attname::text, bool_or(d.identity), bool_or(d.owned), y.typcategory = 'N'
		FROM unnest($1::text[], $2::text[]) AS w(schema, name)
		JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type y ON y.oid = a.atttypid
		JOIN LATERAL (
			SELECT objid AS sequence, deptype = 'i' AS identity, true AS owned FROM pg_depend
			WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = a.attrelid AND refobjsubid = a.attnum AND deptype IN ('a', 'i')
			UNION ALL
			SELECT p.refobjid, false, false FROM pg_attrdef f JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = f.oid AND p.refclassid = 'pg_class'::regclass
			WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum
		) d ON true
		JOIN pg_class s ON s.oid = d.sequence AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
		JOIN pg_sequence q ON q.seqrelid = s.oid
		GROUP BY `+sequenceGroup+`, n.nspname, c.relname, a.attname, a.attnum, y.typcategory
		ORDER BY n.nspname, c.relname, a.attnum, s.relname`, relations, func(row pgx.CollectableRow) (s migrate.Sequence, err error) {
		return s, row.Scan(append(parameters(&s), &s.Table.Schema, &s.Table.Name, &s.Column, &s.Identity, &s.Owned, &s.Numbers)...)
	})
}

// NamedSequences returns those of the named sequences that are there.
func (d *Database) NamedSequences(ctx context.Context, named []migrate.Relation) ([]migrate.Sequence, error) {
	if len(named) == 0 {
		return nil, nil
	}
	return d.sequences(ctx, `
		SELECT `+sequenceSQL+` FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, i)
		JOIN pg_namespace sn ON sn.nspname = w.schema JOIN pg_class s ON s.relnamespace = sn.oid AND s.relname = w.name AND s.relkind = 'S'
		JOIN pg_sequence q ON q.seqrelid = s.oid ORDER BY w.i`, named, func(row pgx.CollectableRow) (s migrate.Sequence, err error) {
		return s, row.Scan(parameters(&s)...)
	})
}

// numbering remembers what the catalog said of sequences, and what it was like then.
type numbering struct {
	mu   sync.Mutex
	said map[string]numbered // guarded by mu; by question
}

type numbered struct {
	print     string
	sequences []migrate.Sequence
}

// mostNumbered is how many answers are kept: a move asks few questions, again and again.
const mostNumbered = 16

func (n *numbering) get(question, print string) (sequences []migrate.Sequence, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	said, known := n.said[question]
	return slices.Clone(said.sequences), known && said.print == print
}

// put keeps an answer, unless it names rights that are lacking: those come without a trace
// in the catalog of sequences.
func (n *numbering) put(question, print string, sequences []migrate.Sequence) {
	if slices.ContainsFunc(sequences, func(s migrate.Sequence) bool { return s.Grant != "" }) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said == nil || len(n.said) >= mostNumbered {
		n.said = map[string]numbered{}
	}
	n.said[question] = numbered{print, slices.Clone(sequences)}
}

// printSQL tells one state of the catalog from another, as far as sequences and who
// draws from them go: a row is made anew by each ALTER SEQUENCE, OWNED BY included, by a
// new name, schema or right, by a column's new name or type, and by a default that is set
// or dropped.
const printSQL = `WITH asked AS MATERIALIZED (
		SELECT c.oid, c.xmin, c.ctid FROM unnest($1::text[], $2::text[]) AS w(schema, name)
		JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name)
	SELECT format('%s %s %s %s %s %s', (SELECT sum(hashtextextended(format('%s %s %s', seqrelid, xmin, ctid), 0)) FROM pg_sequence),
		(SELECT sum(hashtextextended(format('%s %s %s', oid, xmin, ctid), 0)) FROM pg_class WHERE relkind = 'S'),
		(SELECT sum(hashtextextended(format('%s %s %s', oid, xmin, ctid), 0)) FROM pg_namespace),
		(SELECT sum(hashtextextended(format('%s %s %s', oid, xmin, ctid), 0)) FROM asked),
		(SELECT sum(hashtextextended(format('%s %s %s %s', a.attrelid, a.attnum, a.xmin, a.ctid), 0)) FROM asked JOIN pg_attribute a ON a.attrelid = asked.oid),
		(SELECT sum(hashtextextended(format('%s %s %s', f.oid, f.xmin, f.ctid), 0)) FROM asked JOIN pg_attrdef f ON f.adrelid = asked.oid))`

// sequences asks the catalog, and where they stand. To a session that has not asked it
// before the catalog's question is long, and a switch asks it while writes wait: what it
// said before, when the switch was looked into, is taken where nothing has changed.
func (d *Database) sequences(ctx context.Context, query string, relations []migrate.Relation, scan pgx.RowToFunc[migrate.Sequence]) ([]migrate.Sequence, error) {
	var print string // read first: what changes meanwhile is then asked again the next time
	if err := d.pool.QueryRow(ctx, printSQL, schemas(relations), names(relations)).Scan(&print); err != nil {
		return nil, fmt.Errorf("look at the sequences of %s database: %w", d.side, err)
	}
	question := fmt.Sprintf("%s %q %q", query, schemas(relations), names(relations))
	sequences, known := d.numbering.get(question, print)
	if !known {
		rows, err := d.pool.Query(ctx, query, schemas(relations), names(relations))
		if err != nil {
			return nil, fmt.Errorf("list sequences of %s database: %w", d.side, err)
		}
		if sequences, err = pgx.CollectRows(rows, scan); err != nil {
			return nil, fmt.Errorf("list sequences of %s database: %w", d.side, err)
		}
		d.numbering.put(question, print, sequences)
	}
	if err := d.standing(ctx, sequences); err != nil {
		return nil, fmt.Errorf("read sequences of %s database: %w", d.side, err)
	}
	return sequences, nil
}

// LooseSequences returns the sequences in the tables' schemas that belong to no
// column and that no default draws from: if somebody asks them, then by name.
func (d *Database) LooseSequences(ctx context.Context, tables []migrate.Relation) ([]migrate.Relation, error) {
	rows, err := d.pool.Query(ctx, `SELECT n.nspname::text, s.relname::text FROM pg_class s JOIN pg_namespace n ON n.oid = s.relnamespace
		WHERE s.relkind = 'S' AND n.nspname = ANY($1::text[])
		AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = s.oid AND deptype IN ('a', 'i', 'e'))
		AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = s.oid AND classid = 'pg_attrdef'::regclass)
		ORDER BY 1, 2`, schemas(tables))
	if err != nil {
		return nil, fmt.Errorf("list sequences of %s database: %w", d.side, err)
	}
	loose, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r migrate.Relation, err error) {
		return r, row.Scan(&r.Schema, &r.Name)
	})
	if err != nil {
		return nil, fmt.Errorf("list sequences of %s database: %w", d.side, err)
	}
	return loose, nil
}

// standing reads where sequences stand that may be read. The catalog's own view does not tell a
// sequence that was set from one that was never used.
func (d *Database) standing(ctx context.Context, sequences []migrate.Sequence) error {
	var parts []string
	for i, s := range sequences {
		if s.Grant != "" {
			continue
		}
		parts = append(parts, fmt.Sprintf("SELECT %d, last_value, is_called FROM %s", i, quote.Relation(s.Relation)))
	}
	if len(parts) == 0 {
		return nil
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
// sequence's direction; found is false for an empty table, and where no column
// holds the numbers as they are. It is fast where an
// index leads with the column and reads the table where none does.
func (d *Database) Extreme(ctx context.Context, s migrate.Sequence) (value int64, found bool, err error) {
	if !s.Numbers {
		return 0, false, nil
	}
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

// SetSequences makes each value the one that its sequence has handed out last, all in
// one question.
func (d *Database) SetSequences(ctx context.Context, values map[migrate.Relation]int64) error {
	if len(values) == 0 {
		return nil
	}
	var sequences []string
	var numbers []int64
	for s, value := range values {
		sequences, numbers = append(sequences, quote.Relation(s)), append(numbers, value)
	}
	_, err := d.pool.Exec(ctx, `SELECT setval(w.sequence::regclass, w.value, true) FROM unnest($1::text[], $2::bigint[]) AS w(sequence, value)`, sequences, numbers)
	if err != nil {
		return fmt.Errorf("set sequences of %s database: %w", d.side, err)
	}
	return nil
}
