package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// Identify has the log name rows of a table by an index. It waits for 100 ms at
// most at a time for the table, which it needs for itself for a moment.
func (d *Database) Identify(ctx context.Context, name string, table migrate.Relation, index string) error {
	var done bool
	err := d.pool.QueryRow(ctx, `SELECT c.relreplident = 'f' OR c.relreplident = 'i' AND EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
		WHERE i.indrelid = c.oid AND i.indisreplident AND x.relname = $2) FROM pg_class c WHERE c.oid = $1::text::regclass`, quote.Relation(table), index).Scan(&done)
	if err != nil {
		return fmt.Errorf("look at the replica identity of %s in %s database: %w", table, d.side, err)
	}
	if done {
		return nil
	}
	return d.replicate(ctx, name, table, "USING INDEX "+quote.Ident(index), fmt.Sprintf("have rows of %s named by %s in the log of %s database", table, index, d.side))
}

// replicate gives a table another replica identity, and notes the one that it has.
func (d *Database) replicate(ctx context.Context, name string, table migrate.Relation, identity, what string) error {
	script := fmt.Sprintf(`INSERT INTO strangler.identity (capability, relation, before) SELECT %s, oid, relreplident FROM pg_class WHERE oid = %s::regclass AND relreplident <> 'i' ON CONFLICT DO NOTHING;
		ALTER TABLE %s REPLICA IDENTITY %s`, quote.Literal(name), quote.Literal(quote.Relation(table)), quote.Relation(table), identity)
	return d.briefly(ctx, what, script)
}

// IdentifyWhole has the log tell old rows of a table whole, as Identify has them named.
func (d *Database) IdentifyWhole(ctx context.Context, name string, table migrate.Relation) error {
	var done bool
	err := d.pool.QueryRow(ctx, `SELECT relreplident = 'f' FROM pg_class WHERE oid = $1::text::regclass`, quote.Relation(table)).Scan(&done)
	if err != nil {
		return fmt.Errorf("look at the replica identity of %s in %s database: %w", table, d.side, err)
	}
	if done {
		return nil
	}
	return d.replicate(ctx, name, table, "FULL", fmt.Sprintf("have old rows of %s told whole in the log of %s database", table, d.side))
}

// Unidentify gives tables the replica identities back that these have changed.
func (d *Database) Unidentify(ctx context.Context, name string) error {
	rows, err := d.pool.Query(ctx, `SELECT format('ALTER TABLE %s REPLICA IDENTITY %s; DELETE FROM strangler.identity WHERE capability = %L AND relation = %s', i.relation::regclass,
			CASE i.before WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL' ELSE 'DEFAULT' END, i.capability, i.relation)
		FROM strangler.identity i JOIN pg_class c ON c.oid = i.relation WHERE i.capability = $1 ORDER BY i.relation`, name)
	if undefined(err) {
		return nil // nothing was ever installed
	}
	if err != nil {
		return fmt.Errorf("list changed replica identities in %s database: %w", d.side, err)
	}
	scripts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if undefined(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list changed replica identities in %s database: %w", d.side, err)
	}
	for _, script := range scripts {
		if err := d.briefly(ctx, "give a table its replica identity back", script); err != nil {
			return err
		}
	}
	return nil
}
