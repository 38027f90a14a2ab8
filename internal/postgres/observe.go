package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

const (
	observeBegin = 30 * time.Second // for the slot to be made
	observeBatch = 10_000           // changes that the server decodes at a time, and the rest of their transaction
)

// observedSQL takes changes from the slot $1 and leaves of each transaction the
// set of its tables. A call ends with a transaction, so none is counted in parts.
// A partition counts as its table.
const observedSQL = `
	WITH parts AS MATERIALIZED (
		SELECT quote_ident(ln.nspname) || '.' || quote_ident(l.relname) AS leaf, quote_ident(rn.nspname) || '.' || quote_ident(r.relname) AS root
		FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace CROSS JOIN LATERAL pg_partition_tree(r.oid) p
		JOIN pg_class l ON l.oid = p.relid JOIN pg_namespace ln ON ln.oid = l.relnamespace WHERE r.relkind = 'p' AND NOT r.relispartition)
	SELECT tables, count(*) FROM (
		SELECT array_agg(DISTINCT coalesce(root, t) ORDER BY coalesce(root, t)) AS tables
		FROM pg_logical_slot_get_changes($1, NULL, $2, 'skip-empty-xacts', '1', 'include-timestamp', '0') c
		CROSS JOIN LATERAL regexp_split_to_table(substring(c.data FROM '^table (.+?): (?:INSERT|UPDATE|DELETE|TRUNCATE):'), ', ') t LEFT JOIN parts ON leaf = t
		WHERE c.data LIKE 'table %' GROUP BY c.xid::text
	) transactions GROUP BY tables`

// Observe decodes what all tables of the database write through a temporary slot
// of the plugin test_decoding, which needs no publication. Rows never leave the
// server. It gives up after thirty seconds of waiting for the slot, and says for
// whom it has waited.
func (d *Database) Observe(ctx context.Context, period time.Duration) ([]migrate.Together, error) {
	conn, err := d.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the slot ends with the session
	slot := fmt.Sprintf("strangler_observe_%d", conn.PgConn().PID())
	begin, cancel := context.WithTimeout(ctx, observeBegin)
	_, err = conn.Exec(begin, `SELECT pg_create_logical_replication_slot($1, 'test_decoding', true)`, slot)
	cancel()
	if err != nil {
		return nil, d.whom(ctx, fmt.Errorf("watch transactions of %s database: %w", d.side, err))
	}
	end := time.NewTimer(period)
	defer end.Stop()
	again := time.NewTicker(min(period, time.Second))
	defer again.Stop()
	seen := map[string]*migrate.Together{}
	for last := false; ; {
		more, err := observeOnce(ctx, conn, slot, seen)
		if err != nil {
			return nil, fmt.Errorf("watch transactions of %s database: %w", d.side, err)
		}
		if last && !more {
			break
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-end.C:
			last = true
		case <-again.C:
		}
	}
	var list []migrate.Together
	for _, t := range seen {
		list = append(list, *t)
	}
	return list, nil
}

// observeOnce adds one batch to what was seen, and says whether it saw anything.
func observeOnce(ctx context.Context, conn *pgx.Conn, slot string, seen map[string]*migrate.Together) (more bool, err error) {
	rows, err := conn.Query(ctx, observedSQL, slot, observeBatch)
	if err != nil {
		return false, err
	}
	var tables []string
	var count int64
	_, err = pgx.ForEachRow(rows, []any{&tables, &count}, func() error {
		key := strings.Join(tables, "\x00")
		if seen[key] == nil {
			seen[key] = &migrate.Together{Tables: append([]string(nil), tables...)}
		}
		seen[key].Transactions += count
		more = true
		return nil
	})
	return more, err
}

// whom adds to an error the transactions that a slot waits for now.
func (d *Database) whom(ctx context.Context, err error) error {
	server, failed := d.Server(ctx)
	if failed != nil || len(server.Waits) == 0 {
		return err
	}
	var list []string
	for _, w := range server.Waits {
		if w.Prepared != "" {
			list = append(list, fmt.Sprintf("prepared transaction %q", w.Prepared))
		} else {
			list = append(list, fmt.Sprintf("process %d of %s", w.PID, w.User))
		}
	}
	return fmt.Errorf("%w (transactions that write now: %s)", err, strings.Join(list, ", "))
}
