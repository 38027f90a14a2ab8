package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// publish creates the publication of a capability's tables, in place of one that
// an interrupted attempt has left. A partitioned table is published as one, with
// partitions that are attached later. It takes no lock that keeps writers out,
// and gives up after five seconds behind somebody who does.
func (d *Database) publish(ctx context.Context, name string, relations []migrate.Relation) error {
	publication := pgx.Identifier{slotName(name, d.side)}.Sanitize()
	tables := make([]string, len(relations))
	for i, r := range relations {
		tables[i] = quote.Relation(r)
	}
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		for _, statement := range []string{
			"SET LOCAL lock_timeout = '5s'",
			"SET LOCAL client_min_messages = 'error'",
			"DROP PUBLICATION IF EXISTS " + publication,
			fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)", publication, strings.Join(tables, ", ")),
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("create publication %s in %s database: %w", publication, d.side, err)
	}
	return nil
}

func (d *Database) unpublish(ctx context.Context, name string) error {
	publication := pgx.Identifier{slotName(name, d.side)}.Sanitize()
	if _, err := d.pool.Exec(ctx, "DROP PUBLICATION IF EXISTS "+publication); err != nil {
		return fmt.Errorf("drop publication %s in %s database: %w", publication, d.side, err)
	}
	return nil
}
