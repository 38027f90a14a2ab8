package postgres

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
	"testbed"
)

// TestAPlanAsksForAllThatAMoveNeeds: a role that may nothing is given exactly what the
// plan prints, of tables that belong to several owners, and then carries out the whole
// move, there and back, its repair and its end.
func TestAPlanAsksForAllThatAMoveNeeds(t *testing.T) {
	inEachCapture(t, testAPlanAsksForAllThatAMoveNeeds)
}

func testAPlanAsksForAllThatAMoveNeeds(t *testing.T, kind capability.Capture) {
	data := shopData()
	data.Capture = kind
	data.Tables = append(data.Tables, capability.Table{Table: "sales.days", Line: 13, Columns: map[string]string{"n": "count"}, Computed: []capability.Computed{{Column: "twice", Forward: "n * 2", Line: 14}}})
	data.Tables[0].Omit = []string{"region"}
	data.Border = append(data.Border, capability.Border{Constraint: "orders_region_fkey", AtSwitch: capability.BorderDrop, Line: 22})
	data.Sequences = append(data.Sequences, capability.Sequence{Sequence: "sales.numbers", Line: 15})
	m := newMigrationIn(t, kind, testbed.Database(t), testbed.Other(t), "", data)
	name := func(s string) string { return pgx.Identifier{s + " " + m.name}.Sanitize() }
	const tables = `CREATE SCHEMA sales; GRANT CREATE, USAGE ON SCHEMA sales TO %[1]s, %[3]s; SET ROLE %[1]s; CREATE TABLE sales.days (day date PRIMARY KEY, n int NOT NULL DEFAULT 0 %[2]s) PARTITION BY RANGE (day);
		CREATE TABLE sales.days_1 PARTITION OF sales.days FOR VALUES FROM ('2020-01-01') TO ('2020-02-01'); CREATE TABLE sales.days_rest PARTITION OF sales.days DEFAULT; RESET ROLE; CREATE SEQUENCE sales.numbers; ALTER SEQUENCE sales.numbers OWNER TO %[3]s; `
	owners := fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD 'poor'; CREATE ROLE %s; CREATE ROLE %s; GRANT CREATE, USAGE ON SCHEMA public TO %[2]s, %[3]s; REVOKE TEMPORARY ON DATABASE %%s FROM PUBLIC; `, name("poor"), name("owner"), name("stranger"))
	databases := map[capability.Side]*Database{}
	for _, side := range capability.Sides {
		database := pgx.Identifier{ask[string](m, side, `SELECT current_database()::text`)}.Sanitize()
		m.exec(side, fmt.Sprintf(owners, database)+`SET ROLE `+name("owner")+`; `+shop+`RESET ROLE; `+fmt.Sprintf(tables, name("owner"), map[capability.Side]string{capability.Extracted: ", twice bigint"}[side], name("stranger")))
		t.Cleanup(func() {
			const concurrently = "XX000" // rights to parameters are rows of the cluster, which others of this suite change too
			clear := `DROP OWNED BY ` + name("poor") + `, ` + name("owner") + `, ` + name("stranger") + ` CASCADE; REVOKE SET ON PARAMETER session_replication_role FROM ` + name("poor") + `; DROP ROLE ` + name("poor") + `, ` + name("owner") + `, ` + name("stranger")
			err := m.try(side, clear)
			for sqlstate.Of(err) == concurrently {
				err = m.try(side, clear)
			}
			m.must(err)
		})
		u, err := url.Parse(m.urls[side])
		m.must(err)
		u.User = url.UserPassword("poor "+m.name, "poor")
		databases[side], err = Open(t.Context(), side, u.String())
		m.must(err)
		t.Cleanup(databases[side].Close)
	}
	m.exec(capability.Legacy, `CREATE TABLE regions (id int PRIMARY KEY); INSERT INTO regions VALUES (1); ALTER TABLE orders ADD region int REFERENCES regions`)
	m.exec(capability.Legacy, `INSERT INTO sales.days SELECT '2020-01-01'::date + n, n FROM generate_series(1, 60) n; ALTER TABLE payments OWNER TO `+name("stranger"))
	m.exec(capability.Extracted, `DROP TABLE payments; ALTER TABLE order_lines RENAME TO items; ALTER TABLE items RENAME unit_price_cents TO price_cents; TRUNCATE orders, items, customers;
		ALTER TABLE sales.days RENAME n TO count; CREATE TABLE places (id int PRIMARY KEY); ALTER TABLE places OWNER TO `+name("stranger")+`; ALTER TABLE orders ADD place int REFERENCES places`)
	poor := *m
	poor.databases, poor.gates = databases, NewGates(m.name, databases[capability.Legacy], databases[capability.Extracted])
	poor.Mover = poor.mover(data, 1)
	said := func(plan migrate.Plan) bool {
		return slices.ContainsFunc(plan.Settings, func(r migrate.Remark) bool { return strings.HasPrefix(r.Message, "for want of these rights") })
	}
	var granted []string
	for round := 0; ; round++ {
		plan, problems, err := poor.Plan(t.Context())
		m.must(err)
		if len(problems) == 0 {
			if said(plan) {
				t.Errorf("a plan with all rights has not examined everything: %+v", plan.Settings)
			}
			break
		}
		if round == 4 {
			t.Fatalf("granted was\n%s\nand it is not enough: %v", strings.Join(granted, "\n"), problems)
		}
		for _, p := range problems {
			side := capability.Legacy
			if strings.HasPrefix(p.Path, "extracted") || strings.Contains(p.Message, "extracted") {
				side = capability.Extracted
			}
			if err := m.try(side, p.Mend); err != nil {
				t.Fatalf("%q for %q: %v", p.Mend, p.Message, err)
			}
			granted = append(granted, string(side)+": "+p.Mend)
		}
	}
	t.Logf("granted:\n%s", strings.Join(granted, "\n"))
	stop := poor.follows(poor.Mover)
	poor.verify(capability.Legacy, 0)
	m.must(poor.DropBorder(t.Context()))
	m.exec(capability.Legacy, `UPDATE orders SET note = 'last words' WHERE id < 50; UPDATE sales.days SET n = 7, day = '2020-05-01' WHERE day = '2020-01-05'; SELECT nextval('sales.numbers')`)
	poor.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `UPDATE items SET price_cents = 1 WHERE order_id = 1; DELETE FROM sales.days WHERE day < '2020-01-10'; UPDATE sales.days SET count = 8, twice = 16 WHERE count = 9`)
	poor.settled(capability.Extracted)
	poor.verify(capability.Extracted, 0)
	poor.switchTo(capability.Legacy)
	m.must(poor.RestoreBorder(t.Context()))
	if err := m.try(capability.Legacy, `UPDATE orders SET region = 2 WHERE id = 1`); err == nil {
		t.Error("a foreign key to what others own has not come back")
	}
	m.exec(capability.Legacy, `INSERT INTO orders (customer_id) VALUES (1)`)
	poor.settled(capability.Legacy)
	if _, err := poor.Repair(t.Context(), capability.Legacy, nil); err != nil {
		t.Errorf("repair: %v", err)
	}
	poor.verify(capability.Legacy, 0)
	stop()
	m.must(poor.Reset(t.Context(), false, nil))
}

// TestAPlanSaysWhatItCouldNotExamine for want of rights, and examines it when these are
// given.
func TestAPlanSaysWhatItCouldNotExamine(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, folk+`DELETE FROM places WHERE person = 7;`, folkData()).created()
	role := pgx.Identifier{"poor " + m.name}.Sanitize()
	poor := *m
	poor.databases = map[capability.Side]*Database{}
	for _, side := range capability.Sides {
		m.exec(side, `CREATE ROLE `+role+` LOGIN PASSWORD 'poor'`)
		t.Cleanup(func() {
			m.exec(side, `DROP OWNED BY `+role+`; REVOKE SET ON PARAMETER session_replication_role FROM `+role+`; DROP ROLE `+role)
		})
		u, err := url.Parse(m.urls[side])
		m.must(err)
		u.User = url.UserPassword("poor "+m.name, "poor")
		poor.databases[side], err = Open(t.Context(), side, u.String())
		m.must(err)
		t.Cleanup(poor.databases[side].Close)
	}
	poor.gates = NewGates(m.name, poor.databases[capability.Legacy], poor.databases[capability.Extracted])
	poor.Mover = poor.mover(folkData(), 1)
	plan, problems, err := poor.Plan(t.Context())
	m.must(err)
	said := func(plan migrate.Plan) string {
		for _, r := range plan.Settings {
			if strings.HasPrefix(r.Message, "for want of these rights not everything could be examined: ") && r.Mend != "" {
				return r.Message
			}
		}
		return ""
	}
	const halves = "FULL JOIN"
	if why := said(plan); !strings.Contains(why, "permission denied") || strings.Contains(problemText(problems), halves) {
		t.Errorf("without rights it says %q: %v", why, problems)
	}
	for _, p := range problems {
		if mend := p.Mend; strings.HasPrefix(p.Path, "legacy database") || strings.HasPrefix(p.Path, "extracted database") {
			m.exec(capability.Side(strings.TrimSuffix(p.Path, " database")), mend)
		}
	}
	plan, problems, err = poor.Plan(t.Context())
	m.must(err)
	if why := said(plan); why != "" || !strings.Contains(problemText(problems), halves) {
		t.Errorf("with all rights it says %q: %v", why, problems)
	}
}
