package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/quote"
)

// Leftover is one thing in a database that is named for a capability.
type Leftover struct {
	Capability string          `json:"capability"` // as the thing has it: slots and publications have _ for -
	Side       capability.Side `json:"side"`
	Database   string          `json:"database"`
	Kind       LeftoverKind    `json:"kind"`
	Name       string          `json:"name"`
	Drop       string          `json:"drop"`           // the statement that removes it
	Keep       string          `json:"keep,omitempty"` // why that must not be done now
}

// LeftoverKind says what it is.
type LeftoverKind string

// The kinds, in the order in which they are dropped: what costs the database or
// its writers something goes first, and what says that there was a move, last.
const (
	LeftSlot        LeftoverKind = "slot"
	LeftPublication LeftoverKind = "publication"
	LeftTrigger     LeftoverKind = "trigger"
	LeftOutbox      LeftoverKind = "outbox"
	LeftGate        LeftoverKind = "gate"
	LeftOrigin      LeftoverKind = "origin"
	LeftRecord      LeftoverKind = "record"
	LeftMove        LeftoverKind = "move"
)

var leftoverKinds = []LeftoverKind{LeftSlot, LeftPublication, LeftTrigger, LeftOutbox, LeftGate, LeftOrigin, LeftRecord, LeftMove}

// leftoversSQL lists what the catalogs know. Origins belong to the cluster: those
// of a capability that has a slot in another database of it are that one's.
const leftoversSQL = `
SELECT regexp_replace(slot_name, '^strangler_(.*)_(legacy|extracted)$', '\1'), 'slot', slot_name::text, format('SELECT pg_drop_replication_slot(%L)', slot_name),
	CASE WHEN active THEN 'it is in use, by pid ' || active_pid ELSE '' END
FROM pg_replication_slots WHERE database = current_database() AND NOT temporary AND slot_name ~ '^strangler_.*_(legacy|extracted)$'
UNION ALL
SELECT regexp_replace(pubname, '^strangler_(.*)_(legacy|extracted)$', '\1'), 'publication', pubname::text, format('DROP PUBLICATION IF EXISTS %I', pubname), ''
FROM pg_publication WHERE pubname ~ '^strangler_.*_(legacy|extracted)$'
UNION ALL
SELECT CASE WHEN p.proname LIKE 'capture\_%' THEN substr(p.proname, 9) ELSE split_part(encode(t.tgargs, 'escape'), '\000', 1) END, 'trigger',
	format('%I on %s', t.tgname, t.tgrelid::regclass), format('DROP TRIGGER IF EXISTS %I ON %s', t.tgname, t.tgrelid::regclass), ''
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'strangler' AND t.tgparentid = 0 AND (p.proname IN ('guard', 'partition_truncated') OR p.proname LIKE 'capture\_%')
UNION ALL
SELECT o.name, 'origin', o.roname, format('SELECT pg_replication_origin_drop(%L)', o.roname), ''
FROM (SELECT roname, regexp_replace(roname, '^strangler_(.*)_(legacy|extracted)(_(copy|apply)[0-9]+)?$', '\1') AS name FROM pg_replication_origin
	WHERE roname ~ '^strangler_.*_(legacy|extracted)(_(copy|apply)[0-9]+)?$') o
WHERE NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.database <> current_database()
	AND s.slot_name IN ('strangler_' || replace(o.name, '-', '_') || '_legacy', 'strangler_' || replace(o.name, '-', '_') || '_extracted'))`

// Leftovers lists everything of the product in the database that is named for a
// capability, living or not, in the order in which it could be dropped.
func (d *Database) Leftovers(ctx context.Context) ([]Leftover, error) {
	list, err := d.catalogued(ctx)
	if err != nil {
		return nil, fmt.Errorf("list what strangler has in %s database: %w", d.side, err)
	}
	recorded, err := d.recorded(ctx)
	if err != nil {
		return nil, fmt.Errorf("list what strangler has recorded in %s database: %w", d.side, err)
	}
	list = append(list, recorded...)
	slices.SortStableFunc(list, func(a, b Leftover) int {
		return slices.Index(leftoverKinds, a.Kind) - slices.Index(leftoverKinds, b.Kind)
	})
	return list, nil
}

func (d *Database) catalogued(ctx context.Context) ([]Leftover, error) {
	rows, err := d.pool.Query(ctx, leftoversSQL)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Leftover, error) {
		l := Leftover{Side: d.side, Database: d.Name()}
		return l, row.Scan(&l.Capability, &l.Kind, &l.Name, &l.Drop, &l.Keep)
	})
}

// recorded looks into every table of the schema strangler that has a row per
// capability.
func (d *Database) recorded(ctx context.Context) ([]Leftover, error) {
	rows, err := d.pool.Query(ctx, `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'capability' AND NOT a.attisdropped
		WHERE n.nspname = 'strangler' AND c.relkind = 'r' AND c.relname <> 'tick' ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var list []Leftover
	for _, table := range tables {
		query := `SELECT DISTINCT capability, '' FROM strangler.` + quote.Ident(table)
		if table == "gate" {
			query = `SELECT capability, state FROM strangler.gate`
		}
		rows, err := d.pool.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Leftover, error) {
			l := Leftover{Side: d.side, Database: d.Name(), Kind: LeftRecord, Name: "strangler." + table}
			var state string
			err := row.Scan(&l.Capability, &state)
			l.Drop = "DELETE FROM strangler." + quote.Ident(table) + " WHERE capability = " + quote.Literal(l.Capability)
			switch table {
			case "gate":
				l.Kind = LeftGate
				if state != string(capability.Open) {
					l.Keep = "it is " + state + ", so that its tables take no writes here, which may be all that keeps two owners apart; see \"I must open a gate by hand\" in docs/what-if.md"
				}
			case "border", "aside":
				l.Keep = "it has the definitions of what was taken off tables and never made again; make that, and delete the rows: SELECT * FROM strangler." + table
			case "outbox":
				l.Kind, l.Drop = LeftOutbox, "SELECT strangler.drop_outbox("+quote.Literal(l.Capability)+")"
			case "move":
				l.Kind = LeftMove
			}
			return l, err
		})
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// DropLeftover removes one thing. It waits for the locks it needs for 100 ms at a
// time. What is in use is refused.
func (d *Database) DropLeftover(ctx context.Context, l Leftover) error {
	if l.Keep != "" {
		return fmt.Errorf("drop %s %s in %s database: %s", l.Kind, l.Name, d.side, l.Keep)
	}
	if l.Name == "strangler.identity" {
		if err := d.Unidentify(ctx, l.Capability); err != nil {
			return err
		}
	}
	return d.briefly(ctx, fmt.Sprintf("drop %s %s in %s database", l.Kind, l.Name, d.side), l.Drop)
}

// SameCapability compares names as slots have them, which take no hyphen.
func SameCapability(a, b string) bool {
	return strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}
