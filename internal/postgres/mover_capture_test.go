package postgres

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"strangler/capability"
	"testbed"
)

// TestMoveBetweenServersWithoutLogicalLog: there and back, by a role that owns the
// tables and may little else, as on servers of which one is a tenant.
func TestMoveBetweenServersWithoutLogicalLog(t *testing.T) {
	t.Parallel()
	urls := map[capability.Side]string{}
	for _, side := range capability.Sides {
		own := testbed.Cluster(t, map[string]string{"wal_level": "replica"})
		urls[side] = own.URL("postgres")
	}
	m := newMigrationIn(t, capability.CaptureTrigger, urls[capability.Legacy], urls[capability.Extracted], `CREATE ROLE poor LOGIN PASSWORD 'poor';
		CREATE ROLE shop LOGIN PASSWORD 'shop'; GRANT shop TO poor; GRANT CREATE, USAGE ON SCHEMA public TO shop; SET ROLE shop; `+shop, shopData())
	m.exec(capability.Extracted, `CREATE ROLE poor LOGIN PASSWORD 'poor'; GRANT CREATE, USAGE ON SCHEMA public TO poor`)
	poor := *m
	poor.databases = map[capability.Side]*Database{}
	for _, side := range capability.Sides {
		u, err := url.Parse(m.urls[side])
		m.must(err)
		u.User = url.UserPassword("poor", "poor")
		poor.databases[side], err = Open(t.Context(), side, u.String())
		m.must(err)
		t.Cleanup(poor.databases[side].Close)
	}
	poor.gates = NewGates(m.name, poor.databases[capability.Legacy], poor.databases[capability.Extracted])
	poor.Mover = poor.mover(shopData(), 1)
	poor.created()
	_, problems, err := poor.Plan(t.Context())
	m.must(err)
	for _, p := range problems {
		if strings.Contains(p.Mend, "wal_level") || strings.Contains(p.Mend, "REPLICATION") {
			t.Errorf("not needed: %s", p)
		}
		m.exec(capability.Side(strings.TrimSuffix(p.Path, " database")), p.Mend)
	}
	plan, problems, err := poor.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 || plan.Capture != "triggers in legacy (wal_level is replica), and triggers in extracted (wal_level is replica)" {
		t.Errorf("%s: %v", plan.Capture, problems)
	}
	stop := poor.follows(poor.Mover)
	poor.verify(capability.Legacy, 0)
	m.must(poor.DropBorder(t.Context()))
	m.exec(capability.Legacy, `UPDATE orders SET note = 'last words' WHERE id < 50`)
	poor.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `UPDATE items SET price_cents = 1 WHERE order_id = 1; DELETE FROM orders WHERE id = 2000`)
	poor.settled(capability.Extracted)
	poor.verify(capability.Extracted, 0)
	poor.switchTo(capability.Legacy)
	m.must(poor.RestoreBorder(t.Context()))
	m.exec(capability.Legacy, `INSERT INTO orders (customer_id) VALUES (1)`)
	poor.settled(capability.Legacy)
	poor.verify(capability.Legacy, 0)
	stop()
	m.must(poor.Reset(t.Context(), false, nil))
}

// TestCaptureIsChosenOnce: per side, and for as long as the move lives.
func TestCaptureIsChosenOnce(t *testing.T) {
	t.Parallel()
	own := testbed.Cluster(t, map[string]string{"wal_level": "replica"})
	m := newMigrationIn(t, capability.CaptureTrigger, own.URL("postgres"), testbed.Other(t), `CREATE TABLE t (id int PRIMARY KEY, n int); ALTER TABLE t REPLICA IDENTITY NOTHING;
		CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE t SET n = 1 WHERE id = NEW.id; RETURN NULL; END'; CREATE TRIGGER again AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION again()`,
		&capability.Data{State: capability.DataRunning, Tables: []capability.Table{{Table: "t"}}})
	m.exec(capability.Extracted, `CREATE TABLE t (id int PRIMARY KEY, n int)`)
	wanted := func(kind capability.Capture) *capability.Data {
		return &capability.Data{State: capability.DataRunning, Capture: kind, Tables: []capability.Table{{Table: "t"}}}
	}
	if _, problems, err := m.mover(wanted(capability.CaptureWAL), 1).Plan(t.Context()); err != nil || !strings.Contains(problemText(problems), "ALTER SYSTEM SET wal_level = logical") {
		t.Errorf("the log of a server that has none: %v, %v", problems, err)
	}
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 || plan.Capture != "triggers in legacy (wal_level is replica), and the write-ahead log in extracted (wal_level is logical, and the role may replicate)" {
		t.Errorf("%s: %v", plan.Capture, problems)
	}
	if notes := fmt.Sprint(plan.Tables[0].Notes); !strings.Contains(notes, "seem to write it again: again") {
		t.Errorf("notes: %s", notes)
	}
	stop := m.follows(m.Mover)
	m.exec(capability.Legacy, `INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	stop()
	m.Mover = m.mover(wanted(capability.CaptureWAL), 2)
	plan, problems, err = m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 || !strings.Contains(plan.Capture, "triggers in legacy (as the move has begun; data.capture: wal takes effect after a reset)") {
		t.Errorf("%s: %v", plan.Capture, problems)
	}
	m.follows(m.Mover)
	m.exec(capability.Legacy, `DELETE FROM t WHERE id < 5`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

// TestAMoveOfAnEarlierVersionGoesOn: it knew no capture but the log, and its records
// had no place for another.
func TestAMoveOfAnEarlierVersionGoesOn(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureAuto, shop, shopData())
	m.kind = capability.CaptureWAL
	m.created()
	m.follows(m.Mover)()
	m.exec(capability.Extracted, `ALTER TABLE strangler.move DROP COLUMN capture_legacy, DROP COLUMN capture_extracted`)
	m.Mover = m.mover(shopData(), 2)
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	if kind := ask[string](m, capability.Extracted, `SELECT capture_legacy || capture_extracted FROM strangler.move`); kind != "walwal" {
		t.Errorf("captures on record: %s", kind)
	}
}

func problemText(problems []capability.Problem) (text string) {
	for _, p := range problems {
		text += p.String() + "\n"
	}
	return text
}
