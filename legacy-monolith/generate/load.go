package generate

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"legacy-monolith/database"
)

// Load fills the shop's tables in one transaction and returns the number of rows.
// It returns ErrNotEmpty, and changes nothing, where there is a customer, a product
// or an order already. The schema must be up to date.
func Load(ctx context.Context, pool *pgxpool.Pool, size Size) (rows int64, err error) {
	if err := size.check(); err != nil {
		return 0, fmt.Errorf("generate: %w", err)
	}
	tables := imagine(size).tables()
	err = database.InTx(ctx, pool, func(tx pgx.Tx) error {
		if err := claim(ctx, tx); err != nil {
			return err
		}
		keys, err := dropForeignKeys(ctx, tx)
		if err != nil {
			return err
		}
		for _, t := range tables {
			n, err := fill(ctx, tx, t)
			if err != nil {
				return err
			}
			rows += n
		}
		if err := keys.restore(ctx, tx); err != nil {
			return err
		}
		return advanceSequences(ctx, tx)
	})
	if err != nil {
		return 0, fmt.Errorf("generate: %w", err)
	}
	// Outside of the transaction, as VACUUM must be: without statistics the first
	// queries would read whole tables.
	for _, t := range tables {
		if _, err := pool.Exec(ctx, `vacuum (analyze) `+pgx.Identifier{t.name}.Sanitize()); err != nil {
			return 0, fmt.Errorf("generate: analyze %s: %w", t.name, err)
		}
	}
	return rows, nil
}

// claim makes sure that the shop is empty and that nobody else fills it meanwhile.
func claim(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `lock table customers, products, orders`); err != nil {
		return fmt.Errorf("lock tables: %w", err)
	}
	var used bool
	err := tx.QueryRow(ctx, `select exists (select from customers) or exists (select from products)
		or exists (select from orders)`).Scan(&used)
	if err != nil {
		return fmt.Errorf("look for data: %w", err)
	}
	if used {
		return ErrNotEmpty
	}
	return nil
}

// foreignKeys are constraints that were dropped, with what makes them again.
// Checking each once over all rows is several times faster than row by row.
type foreignKeys []struct{ Table, Name, Definition string }

func dropForeignKeys(ctx context.Context, tx pgx.Tx) (foreignKeys, error) {
	rows, err := tx.Query(ctx, `select conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
		from pg_constraint where contype = 'f' and connamespace = current_schema()::regnamespace order by 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("list foreign keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Name, Definition string }])
	if err != nil {
		return nil, fmt.Errorf("list foreign keys: %w", err)
	}
	for _, key := range keys {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`alter table %s drop constraint %s`, key.Table, key.Name)); err != nil {
			return nil, fmt.Errorf("drop %s: %w", key.Name, err)
		}
	}
	return keys, nil
}

func (keys foreignKeys) restore(ctx context.Context, tx pgx.Tx) error {
	for _, key := range keys {
		_, err := tx.Exec(ctx, fmt.Sprintf(`alter table %s add constraint %s %s`, key.Table, key.Name, key.Definition))
		if err != nil {
			return fmt.Errorf("restore %s: %w", key.Name, err)
		}
	}
	return nil
}

// advanceSequences makes the next id follow the generated ones.
func advanceSequences(ctx context.Context, tx pgx.Tx) error {
	for _, name := range []string{"customers", "products", "orders", "order_log", "payments", "invoices"} {
		_, err := tx.Exec(ctx, fmt.Sprintf(
			`select setval(pg_get_serial_sequence('%[1]s', 'id'), max(id)) from %[1]s having max(id) is not null`, name))
		if err != nil {
			return fmt.Errorf("advance sequence of %s: %w", name, err)
		}
	}
	return nil
}

// fill copies the rows of one table.
func fill(ctx context.Context, tx pgx.Tx, t table) (int64, error) {
	next, stop := iter.Pull(t.rows)
	defer stop()
	n, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromFunc(func() ([]any, error) {
		row, _ := next() // nil ends the copy
		return row, nil
	}))
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", t.name, err)
	}
	return n, nil
}
