package postgres

import (
	"strings"
	"testing"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
)

// circle are two tables that refer to each other, as stores and their managers do,
// and one that refers to itself.
const circle = `
	CREATE TABLE stores (id int PRIMARY KEY, manager int NOT NULL, name text);
	CREATE TABLE staff (id int PRIMARY KEY, store int NOT NULL REFERENCES stores, boss int REFERENCES staff, name text);
	ALTER TABLE stores ADD CONSTRAINT managed FOREIGN KEY (manager) REFERENCES staff DEFERRABLE INITIALLY DEFERRED;
	BEGIN; INSERT INTO stores SELECT n, n * 10, 's' || n FROM generate_series(1, 200) n; INSERT INTO staff SELECT n * 10, n, CASE WHEN n > 1 THEN 10 END, 'm' || n FROM generate_series(1, 200) n; COMMIT;`

// TestTablesThatReferToEachOtherMove: made, copied, followed, switched, and their
// keys hold for everybody afterwards, on both sides.
func TestTablesThatReferToEachOtherMove(t *testing.T) {
	inEachCapture(t, testTablesThatReferToEachOtherMove)
}

func testTablesThatReferToEachOtherMove(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, circle, tables("stores", "staff")).created()
	keys := func(side capability.Side) string {
		return ask[string](m, side, `SELECT string_agg(format('%s %s %s', conname, convalidated, pg_get_constraintdef(oid)), ', ' ORDER BY conname) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace`)
	}
	before := keys(capability.Legacy)
	if made := keys(capability.Extracted); made != before || strings.Count(before, " t FOREIGN KEY") != 3 {
		t.Fatalf("keys are %s and were made as %s", before, made)
	}
	const writes = `BEGIN; INSERT INTO stores VALUES (1000, 9000, 'new'); INSERT INTO staff VALUES (9000, 1000, 20, 'new'); COMMIT;
		BEGIN; UPDATE stores SET manager = 9000 WHERE id = 2; UPDATE staff SET boss = NULL WHERE boss = 10; COMMIT;
		BEGIN; UPDATE stores SET manager = 30 WHERE id IN (2, 4); DELETE FROM staff WHERE id = 40; COMMIT`
	m.follows(m.Mover)
	m.exec(capability.Legacy, writes)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	if now := keys(capability.Extracted); now != before {
		t.Errorf("keys are %s and were %s", now, before)
	}
	for _, wrong := range []string{`DELETE FROM stores WHERE id = 3`, `UPDATE stores SET manager = -1 WHERE id = 3`, `UPDATE staff SET store = -1 WHERE id = 50`} {
		if err := m.try(capability.Extracted, wrong); sqlstate.Of(err) != "23503" {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	m.exec(capability.Extracted, `BEGIN; DELETE FROM stores WHERE id = 1000 AND false; INSERT INTO stores VALUES (2000, 9100, 'of the service'); INSERT INTO staff VALUES (9100, 2000, 9100, 'own boss'); COMMIT;
		BEGIN; UPDATE staff SET id = 9101, boss = 9101 WHERE id = 9100; UPDATE stores SET manager = 9101 WHERE id = 2000; COMMIT`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.switchTo(capability.Legacy)
	if now := keys(capability.Legacy); now != before {
		t.Errorf("legacy's keys are %s and were %s", now, before)
	}
	m.exec(capability.Legacy, `BEGIN; DELETE FROM stores WHERE id = 2000 AND false; UPDATE stores SET name = 'back' WHERE id = 2000; COMMIT`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}
