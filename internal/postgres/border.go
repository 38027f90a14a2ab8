package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

//go:embed border.sql
var borderSQL string

// Bounds of one attempt to change a foreign key: writers of both tables wait for
// it, and those that come later queue behind it.
const (
	borderLock    = 100 * time.Millisecond
	borderTimeout = time.Second
	borderPatient = 15 * time.Second // attempts, all together
)

// DropForeignKeys drops constraints in one transaction of at most a second and
// remembers their definitions in it. Where the tables are locked it tries again
// for fifteen seconds and then returns capability.ErrBusy; nothing was dropped then.
func (d *Database) DropForeignKeys(ctx context.Context, name string, keys []migrate.ForeignKey) error {
	if err := d.install(ctx, borderSQL); err != nil {
		return err
	}
	present, err := d.present(ctx, keys)
	if err != nil || len(present) == 0 {
		return err
	}
	var tables []string
	var script strings.Builder
	for _, k := range present {
		tables = append(tables, quote.Relation(k.From), quote.Relation(k.To))
	}
	slices.Sort(tables)
	if tables, err = d.lockable(ctx, slices.Compact(tables)); err != nil {
		return err
	}
	if len(tables) > 0 {
		fmt.Fprintf(&script, "LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE;\n", strings.Join(tables, ", ONLY "))
	}
	for _, k := range present {
		fmt.Fprintf(&script, `INSERT INTO strangler.border (capability, relation_schema, relation_name, constraint_name, referenced_schema, referenced_name, definition, validated)
			VALUES (%s, %s, %s, %s, %s, %s, %s, %t) ON CONFLICT (capability, relation_schema, relation_name, constraint_name)
			DO UPDATE SET definition = excluded.definition, validated = excluded.validated OR strangler.border.validated;
			ALTER TABLE ONLY %s DROP CONSTRAINT %s;`+"\n",
			quote.Literal(name), quote.Literal(k.From.Schema), quote.Literal(k.From.Name), quote.Literal(k.Name), quote.Literal(k.To.Schema), quote.Literal(k.To.Name), quote.Literal(k.Definition), k.Validated,
			quote.Relation(k.From), quote.Ident(k.Name))
	}
	return d.briefly(ctx, "drop the foreign keys at the border of "+name, script.String())
}

// lockable are those of the tables that the role may lock: dropping a constraint locks
// what it refers to as well, and asks for no right to that.
func (d *Database) lockable(ctx context.Context, tables []string) ([]string, error) {
	rows, err := d.pool.Query(ctx, `SELECT name FROM unnest($1::text[]) WITH ORDINALITY AS t(name, n) WHERE has_table_privilege(name::regclass, 'UPDATE, DELETE, TRUNCATE') ORDER BY n`, tables)
	if err != nil {
		return nil, fmt.Errorf("look for tables to lock in %s database: %w", d.side, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for tables to lock in %s database: %w", d.side, err)
	}
	return list, nil
}

// present re-reads the constraints: one that is gone cannot be dropped, and what
// is remembered is the definition of now.
func (d *Database) present(ctx context.Context, keys []migrate.ForeignKey) ([]migrate.ForeignKey, error) {
	var relations []migrate.Relation
	for _, k := range keys {
		relations = append(relations, k.From)
	}
	now, err := d.ForeignKeys(ctx, relations)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(now, func(k migrate.ForeignKey) bool {
		return !slices.ContainsFunc(keys, func(wanted migrate.ForeignKey) bool { return wanted.Name == k.Name && wanted.From == k.From })
	}), nil
}

// briefly runs a script as one transaction of one round trip, under time limits
// that protect the writers of the tables it locks, and tries again later where
// it does not get them.
func (d *Database) briefly(ctx context.Context, what, script string) error {
	limits := fmt.Sprintf("SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = %d;\n", borderLock.Milliseconds(), borderTimeout.Milliseconds())
	give := time.Now().Add(borderPatient)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := d.atOnce(ctx, limits+script)
		switch {
		case err == nil:
			return nil
		case !locked(err):
			return d.fencedOr(fmt.Errorf("%s in %s database: %w", what, d.side, err))
		case time.Now().After(give):
			return fmt.Errorf("%s: %w", what, capability.ErrBusy)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// DroppedForeignKeys lists what was dropped for a capability and not restored.
func (d *Database) DroppedForeignKeys(ctx context.Context, name string) ([]migrate.ForeignKey, error) {
	rows, err := d.pool.Query(ctx, `SELECT constraint_name, relation_schema, relation_name, referenced_schema, referenced_name, definition, validated
		FROM strangler.border WHERE capability = $1 ORDER BY relation_schema, relation_name, constraint_name`, name)
	if undefined(err) {
		return nil, nil // nothing was ever dropped
	}
	if err != nil {
		return nil, fmt.Errorf("list dropped foreign keys of %s: %w", name, err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k migrate.ForeignKey, err error) {
		return k, row.Scan(&k.Name, &k.From.Schema, &k.From.Name, &k.To.Schema, &k.To.Name, &k.Definition, &k.Validated)
	})
	if undefined(err) {
		return nil, nil // it was, and all is removed
	}
	if err != nil {
		return nil, fmt.Errorf("list dropped foreign keys of %s: %w", name, err)
	}
	return keys, nil
}

// RestoreForeignKey makes a dropped constraint again. Adding it NOT VALID is
// short; validating reads the table, beside its writers. Where rows violate it
// the constraint stays, NOT VALID, and the error says so.
func (d *Database) RestoreForeignKey(ctx context.Context, name string, k migrate.ForeignKey) error {
	there, err := d.present(ctx, []migrate.ForeignKey{k})
	if err != nil {
		return err
	}
	if len(there) == 0 {
		if err := d.restoreInPartitions(ctx, k); err != nil {
			return err
		}
		definition := strings.TrimSuffix(k.Definition, " NOT VALID") + " NOT VALID"
		script := fmt.Sprintf("ALTER TABLE ONLY %s ADD CONSTRAINT %s %s", quote.Relation(k.From), quote.Ident(k.Name), definition)
		if only, err := d.only(ctx, k.From); err != nil {
			return err
		} else if only == "" { // a partitioned table's takes no NOT VALID
			script = fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s", quote.Relation(k.From), quote.Ident(k.Name), strings.TrimSuffix(k.Definition, " NOT VALID"))
		}
		if err := d.briefly(ctx, fmt.Sprintf("restore foreign key %s of %s", k.Name, k.From), script); err != nil {
			return err
		}
	}
	if k.Validated {
		if _, err := d.pool.Exec(ctx, `ALTER TABLE ONLY `+quote.Relation(k.From)+` VALIDATE CONSTRAINT `+quote.Ident(k.Name)); err != nil {
			return fmt.Errorf("validate foreign key %s of %s (it is enforced for new rows; mend the old ones and run ALTER TABLE %s VALIDATE CONSTRAINT %s): %w",
				k.Name, k.From, quote.Relation(k.From), quote.Ident(k.Name), sqlstate.Describe(err))
		}
	}
	_, err = d.pool.Exec(ctx, `DELETE FROM strangler.border WHERE capability = $1 AND relation_schema = $2 AND relation_name = $3 AND constraint_name = $4`,
		name, k.From.Schema, k.From.Name, k.Name)
	if err != nil {
		return fmt.Errorf("forget foreign key %s of %s: %w", k.Name, k.From, err)
	}
	return nil
}

// restoreInPartitions makes the constraint on each partition that has rows, one
// after the other. That of their table cannot be NOT VALID: it takes up those that
// are there, and reads nothing then.
func (d *Database) restoreInPartitions(ctx context.Context, k migrate.ForeignKey) error {
	partitions, err := d.Partitions(ctx, []migrate.Relation{k.From}, "")
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if !p.Leaf {
			continue
		}
		table, name := quote.Relation(p.Relation), quote.Ident(k.Name)
		var there bool
		if err := d.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1 AND conname = $2)`, p.ID, k.Name).Scan(&there); err != nil {
			return fmt.Errorf("restore foreign key %s of %s: %w", k.Name, p.Relation, err)
		}
		if !there {
			script := fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s NOT VALID", table, name, strings.TrimSuffix(k.Definition, " NOT VALID"))
			if err := d.briefly(ctx, fmt.Sprintf("restore foreign key %s of %s", k.Name, p.Relation), script); err != nil {
				return err
			}
		}
		if _, err := d.pool.Exec(ctx, `ALTER TABLE `+table+` VALIDATE CONSTRAINT `+name); err != nil {
			return fmt.Errorf("validate foreign key %s of partition %s (it is enforced for new rows; mend the old ones): %w", k.Name, p.Relation, sqlstate.Describe(err))
		}
	}
	return nil
}
