package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// membersSQL finds tables and, of those that are partitioned, all partitions of
// every level, as the statement's snapshot sees them: the functions of PostgreSQL
// that know partitions tell the present instead. $1 and $2 name the tables.
const membersSQL = `WITH RECURSIVE members (root, oid, schema, name, kind, since) AS (
	SELECT c.oid, c.oid, n.nspname::text, c.relname::text, c.relkind, '' FROM unnest($1::text[], $2::text[]) AS w(schema, name)
	JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
	UNION ALL
	SELECT m.root, c.oid, n.nspname::text, c.relname::text, c.relkind, i.xmin::text || ' ' || i.cmin
	FROM members m JOIN pg_inherits i ON i.inhparent = m.oid JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE m.kind = 'p' AND NOT i.inhdetachpending)`

// onlySQL is the word before a table's name ($1, quoted) that reads the rows of
// its own, and of its partitions where it is made of them.
const onlySQL = `SELECT CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_class WHERE oid = $1::text::regclass`

// only is that word: tables that inherit from a table are no part of it.
func (d *Database) only(ctx context.Context, relation migrate.Relation) (word string, err error) {
	if err := d.pool.QueryRow(ctx, onlySQL, quote.Relation(relation)).Scan(&word); err != nil {
		return "", fmt.Errorf("look at %s in %s database: %w", relation, d.side, err)
	}
	return word, nil
}

// Partitions lists the partitions of tables, those between as well as the leaves.
func (d *Database) Partitions(ctx context.Context, relations []migrate.Relation, snapshot string) (list []migrate.Partition, err error) {
	err = pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if snapshot != "" {
			if _, err := tx.Exec(ctx, `SET TRANSACTION SNAPSHOT `+quote.Literal(snapshot)); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, membersSQL+` SELECT root, oid, schema, name, kind <> 'p', since FROM members WHERE oid <> root ORDER BY schema, name`, schemas(relations), names(relations))
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p migrate.Partition, err error) {
			return p, row.Scan(&p.Root, &p.ID, &p.Relation.Schema, &p.Relation.Name, &p.Leaf, &p.Since)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list partitions in %s database: %w", d.side, err)
	}
	return list, nil
}

// RememberPartitions notes the partitions that the capability's stream from this
// database knows, in place of what was noted before.
func (d *Database) RememberPartitions(ctx context.Context, name string, partitions []migrate.Partition) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM strangler.partition WHERE capability = $1`, name); err != nil {
			return err
		}
		return remember(ctx, tx, name, partitions)
	})
	if err != nil {
		return fmt.Errorf("note the partitions of %s in %s database: %w", name, d.side, err)
	}
	return nil
}

func remember(ctx context.Context, tx pgx.Tx, name string, partitions []migrate.Partition) error {
	for _, p := range partitions {
		_, err := tx.Exec(ctx, `INSERT INTO strangler.partition (capability, root, partition, name, since) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (capability, partition) DO UPDATE SET root = excluded.root, name = excluded.name, since = excluded.since`, name, p.Root, p.ID, p.Relation.String(), p.Since)
		if err != nil {
			return err
		}
	}
	return nil
}

// Repartitioned compares the partitions of now with those that are remembered.
func (d *Database) Repartitioned(ctx context.Context, name string, relations []migrate.Relation) (r migrate.Repartitioned, err error) {
	fail := func(err error) (migrate.Repartitioned, error) {
		return migrate.Repartitioned{}, fmt.Errorf("look for changed partitions of %s in %s database: %w", name, d.side, err)
	}
	now, err := d.Partitions(ctx, relations, "")
	if err != nil {
		return r, err
	}
	rows, err := d.pool.Query(ctx, `SELECT partition, name, since FROM strangler.partition WHERE capability = $1 ORDER BY name`, name)
	if err != nil {
		return fail(err)
	}
	known := map[uint32]migrate.Partition{}
	var order []uint32
	var p migrate.Partition
	var called string
	if _, err := pgx.ForEachRow(rows, []any{&p.ID, &called, &p.Since}, func() error {
		p.Relation = migrate.ParseRelation(called)
		known[p.ID] = p
		order = append(order, p.ID)
		return nil
	}); err != nil {
		return fail(err)
	}
	there := map[uint32]bool{}
	for _, p := range now {
		before, is := known[p.ID]
		there[p.ID] = is && before.Since == p.Since
		if there[p.ID] {
			continue
		}
		filled, err := d.brought(ctx, p)
		switch {
		case undefined(err): // dropped since
		case err != nil:
			return fail(err)
		case filled:
			r.Filled = append(r.Filled, p)
		default:
			r.Fresh = append(r.Fresh, p)
		}
	}
	for _, id := range order {
		if !there[id] {
			r.Gone = append(r.Gone, known[id])
		}
	}
	return r, nil
}

// brought says whether a partition had rows when it was attached. Those are in no
// stream. A row is older than the attachment if its transaction is; one that
// began earlier and wrote later cannot be told from it, unless the partition was
// made in the transaction that attached it: then nobody else has seen it before.
func (d *Database) brought(ctx context.Context, p migrate.Partition) (filled bool, err error) {
	if !p.Leaf {
		return false, nil
	}
	err = d.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ONLY `+quote.Relation(p.Relation)+` t, pg_inherits i, pg_class c, pg_type y
		WHERE i.inhrelid = $1 AND c.oid = i.inhrelid AND y.oid = c.reltype
		  AND CASE WHEN t.xmin = i.xmin THEN t.cmin::text::bigint < i.cmin::text::bigint ELSE y.xmin <> i.xmin AND age(t.xmin) > age(i.xmin) END)`, p.ID).Scan(&filled)
	return filled, err
}

// AdoptPartitions notes partitions that have come and brought no rows, and makes
// sure that it is told when one of them is truncated.
func (d *Database) AdoptPartitions(ctx context.Context, name string, partitions []migrate.Partition) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '100ms'`); err != nil {
			return err
		}
		// Where changes are read from the log; triggers that capture see to it themselves.
		roots := map[uint32]bool{}
		for _, p := range partitions {
			if roots[p.Root] {
				continue
			}
			roots[p.Root] = true
			_, err := tx.Exec(ctx, `SELECT strangler.tell_truncations($1, $2::oid::regclass) WHERE EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
				WHERE r.prrelid = $2::oid AND p.pubname = $3)`, name, p.Root, slotName(name, d.side))
			if err != nil {
				return err
			}
		}
		return remember(ctx, tx, name, partitions)
	})
	if err != nil {
		return fmt.Errorf("take up partitions of %s in %s database: %w", name, d.side, err)
	}
	return nil
}

// tellTruncations puts triggers on the partitions of tables, each of which keeps
// writers of its partition out for a moment.
func (d *Database) tellTruncations(ctx context.Context, name string, relations []migrate.Relation) error {
	for _, r := range relations {
		statement := fmt.Sprintf(`SELECT strangler.tell_truncations(%s, %s::regclass) FROM pg_class WHERE oid = %[2]s::regclass AND relkind = 'p'`, quote.Literal(name), quote.Literal(quote.Relation(r)))
		if err := d.briefly(ctx, fmt.Sprintf("have truncated partitions of %s told", r), statement); err != nil {
			return err
		}
	}
	return nil
}

// forgetTruncations removes these triggers.
func (d *Database) forgetTruncations(ctx context.Context, name string) error {
	rows, err := d.pool.Query(ctx, `SELECT format('DROP TRIGGER IF EXISTS %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger
		WHERE tgfoid = to_regproc('strangler.partition_truncated') AND tgargs = convert_to($1, 'UTF8') || '\x00'::bytea ORDER BY tgrelid`, name)
	if err != nil {
		return fmt.Errorf("list triggers on partitions in %s database: %w", d.side, err)
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list triggers on partitions in %s database: %w", d.side, err)
	}
	for _, statement := range statements {
		if err := d.briefly(ctx, "drop a trigger on a partition", statement); err != nil {
			return err
		}
	}
	return nil
}
