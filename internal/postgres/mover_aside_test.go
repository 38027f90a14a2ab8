package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// fails runs the mover until it ends by itself, and returns why.
func (m *migration) fails() string {
	m.t.Helper()
	err := m.Run(m.t.Context())
	if err == nil {
		m.t.Fatal("the mover did not fail")
	}
	return err.Error()
}

// strict is what the plan takes for a constraint of both sides. A function that
// differs, or a collation, makes the extracted one stricter.
const strict = `CREATE EXTENSION btree_gist; CREATE FUNCTION own(id bigint, customer bigint, total numeric) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT %s'; `

// TestRowsThatAConstraintRefusesStopTheMove, and it goes on when they are mended
// in the legacy database, or the constraint is done without.
func TestRowsThatAConstraintRefusesStopTheMove(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ both, stricter, says, mend, after string }{
		"unique index, rows mended": {
			`CREATE UNIQUE INDEX strict ON orders (own(id, customer_id, total))`, "", "index strict of orders cannot be made",
			`UPDATE orders SET total = id`, `SELECT count(*) = 1 FROM pg_index WHERE indexrelid = 'strict'::regclass AND indisvalid`,
		},
		"unique constraint, done without": {
			`ALTER TABLE orders ADD CONSTRAINT strict UNIQUE (note)`, `CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE orders ALTER note TYPE text COLLATE loose`, "index strict of orders cannot be made",
			`DELETE FROM strangler.aside WHERE name = 'strict'`, `SELECT to_regclass('strict') IS NULL`,
		},
		"exclusion constraint, done without": {
			`ALTER TABLE orders ADD CONSTRAINT strict EXCLUDE USING gist (own(id, customer_id, total) WITH =)`, "", "exclusion constraint strict of orders cannot be made",
			`DELETE FROM strangler.aside WHERE name = 'strict'`, `SELECT to_regclass('strict') IS NULL`,
		},
		"foreign key, rows mended": {
			"", `CREATE TABLE own (id bigint PRIMARY KEY); INSERT INTO own SELECT generate_series(1, 99); ALTER TABLE orders ADD CONSTRAINT strict FOREIGN KEY (customer_id) REFERENCES own`,
			"foreign key strict of orders cannot be made: 30 rows refer to rows that are not there",
			`UPDATE orders SET customer_id = 1 WHERE customer_id = 100`, `SELECT convalidated FROM pg_constraint WHERE conname = 'strict'`,
		},
		"foreign key, not validated": {
			"", `CREATE TABLE own (id bigint PRIMARY KEY); INSERT INTO own SELECT generate_series(1, 99); ALTER TABLE orders ADD CONSTRAINT strict FOREIGN KEY (customer_id) REFERENCES own`,
			"30 rows refer to rows that are not there",
			`DELETE FROM strangler.aside WHERE name = 'strict'`, `SELECT NOT convalidated FROM pg_constraint WHERE conname = 'strict'`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, capability.CaptureWAL, shop, shopData()).created()
			m.exec(capability.Legacy, `UPDATE orders SET total = 1, note = CASE id WHEN 100 THEN 'note' WHEN 200 THEN 'NOTE' END WHERE id IN (100, 200) OR note IS NOT NULL; `+fmt.Sprintf(strict, "id")+test.both)
			m.exec(capability.Extracted, fmt.Sprintf(strict, "customer || '' '' || total")+test.both+";"+test.stricter)
			text := m.fails()
			if !strings.Contains(text, test.says) || !strings.Contains(text, `DELETE FROM strangler.aside WHERE relation = '"public"."orders"' AND name = 'strict'`) {
				t.Fatalf("failed with: %s", text)
			}
			if s := m.Status(); s.Phase != capability.PhaseFailed || s.Error != text {
				t.Errorf("status: %+v", s)
			}
			before := ask[string](m, capability.Extracted, versions)
			if again := m.fails(); again != text {
				t.Errorf("then failed with: %s", again)
			}
			side := capability.Legacy
			if strings.HasPrefix(test.mend, "DELETE") {
				side = capability.Extracted
			}
			m.exec(side, test.mend)
			m.Mover = m.mover(shopData(), 2)
			m.follows(m.Mover)
			if side == capability.Extracted && ask[string](m, capability.Extracted, versions) != before {
				t.Error("rows were copied again")
			}
			if !ask[bool](m, capability.Extracted, test.after) {
				t.Errorf("not so: %s", test.after)
			}
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
		})
	}
}

// TestOnlyTheMoversOwnTablesAreTouched: what another table refers to stays, and
// so does everything of that table.
func TestOnlyTheMoversOwnTablesAreTouched(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, shop, shopData()).created()
	m.exec(capability.Extracted, `CREATE UNIQUE INDEX referred ON orders (id, customer_id); CREATE TABLE own (id bigint PRIMARY KEY, order_id bigint, customer bigint, n int UNIQUE, FOREIGN KEY (order_id, customer) REFERENCES orders (id, customer_id));
		CREATE INDEX ON own (order_id)`)
	const own = `SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM (SELECT indexrelid FROM pg_index WHERE indrelid = 'own'::regclass OR indexrelid = 'referred'::regclass UNION ALL SELECT oid FROM pg_constraint WHERE conrelid = 'own'::regclass) t(oid)`
	before := ask[string](m, capability.Extracted, own)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 || !slices.ContainsFunc(plan.Notes, func(note migrate.Remark) bool {
		return strings.HasPrefix(note.Message, "set aside") && strings.Contains(note.Message, "order_lines_order_id_fkey, customers_email_key, orders_customer_id_id_idx")
	}) {
		t.Errorf("problems %v, notes %+v", problems, plan.Notes)
	}
	m.follows(m.Mover)
	if after := ask[string](m, capability.Extracted, own); after != before {
		t.Errorf("was %s, is %s", before, after)
	}
	m.verify(capability.Legacy, 0)
}

// TestResetGivesBackWhatWasSetAside, from the middle of a copy.
func TestResetGivesBackWhatWasSetAside(t *testing.T) {
	t.Parallel()
	m := newRestless(t, capability.CaptureWAL, restlessData(), 300)
	stop := m.start(m.Mover)
	m.copied(3)
	stop()
	if now := ask[string](m, capability.Extracted, secondaries); now == m.secondaries {
		t.Error("nothing was set aside")
	}
	m.must(m.Reset(t.Context(), false, nil))
	if now := ask[string](m, capability.Extracted, secondaries); now != m.secondaries {
		t.Errorf("indexes and constraints are\n%s\nand were\n%s", now, m.secondaries)
	}
	if left := ask[bool](m, capability.Extracted, `SELECT to_regclass('strangler.aside') IS NOT NULL`); left {
		t.Error("records are left")
	}
}

// TestDeferrableConstraintsComeBackWhole: no index without its constraint is there in
// between, which would refuse values that change places if a mover died just then.
func TestDeferrableConstraintsComeBackWhole(t *testing.T) {
	t.Parallel()
	const ddl = `CREATE TABLE seats (id int PRIMARY KEY, seat int, CONSTRAINT one_each UNIQUE (seat) DEFERRABLE INITIALLY DEFERRED)`
	f := newFlow(t, capability.CaptureWAL, ddl, ddl, capability.Table{Table: "seats"})
	d := f.databases[capability.Extracted]
	_, err := d.SetAside(t.Context(), f.name, []migrate.Relation{{Schema: "public", Name: "seats"}}, nil)
	f.must(err)
	asides, err := d.Asides(t.Context(), f.name)
	f.must(err)
	if len(asides) != 1 || asides[0].Kind != "unique constraint" {
		t.Fatalf("set aside: %+v", asides)
	}
	f.must(d.Build(t.Context(), asides[0]))
	if got := f.text(capability.Extracted, `SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'one_each'`); got != "UNIQUE (seat) DEFERRABLE INITIALLY DEFERRED" {
		t.Errorf("made again as %s", got)
	}
}
