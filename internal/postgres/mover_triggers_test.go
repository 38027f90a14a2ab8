package postgres

import (
	"strings"
	"testing"

	"strangler/capability"
)

// watched is a table whose every trigger writes down that it has fired, and changes
// what is written.
const watched = `CREATE TABLE watched (id int PRIMARY KEY, v text); CREATE TABLE fired (n bigserial, what text);`

const watchers = `
	CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired (what) VALUES (TG_NAME || ' ' || TG_OP); RETURN NULL; END $$;
	CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired (what) VALUES (TG_NAME || ' ' || TG_OP); NEW.v = 'spoiled'; RETURN NEW; END $$;
	CREATE TRIGGER a_before BEFORE INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION spoil();
	CREATE TRIGGER b_after AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
	CREATE CONSTRAINT TRIGGER c_late AFTER INSERT OR UPDATE OR DELETE ON watched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell();
	CREATE TRIGGER d_statement AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON watched FOR EACH STATEMENT EXECUTE FUNCTION tell();
	CREATE TRIGGER e_truncate BEFORE TRUNCATE ON watched FOR EACH STATEMENT EXECUTE FUNCTION tell();`

// TestTriggersOfTheTargetStayQuiet for whatever the mover writes: copy, stream and
// repair, in both directions. For the application they fire.
func TestTriggersOfTheTargetStayQuiet(t *testing.T) {
	inEachCapture(t, testTriggersOfTheTargetStayQuiet)
}

func testTriggersOfTheTargetStayQuiet(t *testing.T, kind capability.Capture) {
	data := tables("watched")
	m := newMigration(t, kind, watched+`INSERT INTO watched SELECT n, 'v' || n FROM generate_series(1, 50) n`, data)
	m.exec(capability.Extracted, watched)
	for _, side := range capability.Sides {
		m.exec(side, watchers)
	}
	quiet := func(side capability.Side, when string) {
		t.Helper()
		if told := ask[string](m, side, `SELECT coalesce(string_agg(what, ', ' ORDER BY n), '') FROM fired`); told != "" {
			t.Errorf("%s: %s", when, told)
		}
		if n := ask[int](m, side, `SELECT count(*) FROM watched WHERE v = 'spoiled' AND id > 9`); n > 0 {
			t.Errorf("%s: %d rows are spoiled", when, n)
		}
	}
	writes := func(side capability.Side) {
		t.Helper()
		// As if the trigger that spoils were not there: what arrives must be this.
		m.exec(side, `ALTER TABLE watched DISABLE TRIGGER a_before`)
		m.exec(side, `UPDATE watched SET v = v || '!' WHERE id BETWEEN 10 AND 20; DELETE FROM watched WHERE id BETWEEN 21 AND 23;
			INSERT INTO watched SELECT n, 'new' FROM generate_series(21, 22) n; UPDATE watched SET id = id + 1000 WHERE id = 30`)
		m.exec(side, `ALTER TABLE watched ENABLE TRIGGER a_before; TRUNCATE fired`)
	}
	m.follows(m.Mover)
	quiet(capability.Extracted, "after the copy")
	writes(capability.Legacy)
	m.settled(capability.Legacy)
	quiet(capability.Extracted, "after changes")
	m.rogue(capability.Extracted, `UPDATE watched SET v = 'wrong' WHERE id = 12; DELETE FROM watched WHERE id = 13`)
	if v, err := m.Repair(t.Context(), capability.Legacy, nil); err != nil || v.Repaired != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	quiet(capability.Extracted, "after a repair")
	m.verify(capability.Legacy, 0)

	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `INSERT INTO watched VALUES (5000, 'of the service')`)
	told := ask[string](m, capability.Extracted, `SELECT string_agg(what, ', ' ORDER BY n) || ': ' || (SELECT v FROM watched WHERE id = 5000) FROM fired`)
	if told != "a_before INSERT, b_after INSERT, d_statement INSERT, c_late INSERT: spoiled" {
		t.Errorf("the service's write fires %s", told)
	}
	m.settled(capability.Extracted)
	m.exec(capability.Extracted, `DELETE FROM watched WHERE id = 5000`)
	writes(capability.Extracted)
	m.settled(capability.Extracted)
	quiet(capability.Legacy, "after changes on the way back")
	m.exec(capability.Extracted, `ALTER TABLE watched DISABLE TRIGGER a_before`)
	m.exec(capability.Extracted, `TRUNCATE watched; INSERT INTO watched SELECT n, 'again' FROM generate_series(1, 40) n`)
	m.settled(capability.Extracted)
	quiet(capability.Legacy, "after a truncation")
	m.verify(capability.Extracted, 0)
}

// TestTriggersThatFireAlwaysAreRefused when a move begins; one that comes later is
// not looked for, and what it does shows in the next verification.
func TestTriggersThatFireAlwaysAreRefused(t *testing.T) {
	inEachCapture(t, testTriggersThatFireAlwaysAreRefused)
}

func testTriggersThatFireAlwaysAreRefused(t *testing.T, kind capability.Capture) {
	for _, enabled := range []string{"ALWAYS", "REPLICA"} {
		t.Run(enabled, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, kind, watched+`INSERT INTO watched VALUES (1, 'a'), (2, 'b')`, tables("watched"))
			m.exec(capability.Extracted, watched+watchers+`ALTER TABLE watched ENABLE `+enabled+` TRIGGER a_before`)
			err := m.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), "fire for the mover's writes as well") || !strings.Contains(err.Error(), "ENABLE TRIGGER a_before") {
				t.Fatalf("began with it: %v", err)
			}
			if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM fired`) + ask[int](m, capability.Extracted, `SELECT count(*) FROM watched`); n != 0 {
				t.Errorf("%d rows were written", n)
			}
			m.exec(capability.Extracted, `ALTER TABLE watched ENABLE TRIGGER a_before`)
			m.Mover = m.mover(m.Document.Data, 2)
			m.follows(m.Mover)
			m.exec(capability.Extracted, `ALTER TABLE watched ENABLE `+enabled+` TRIGGER a_before`)
			m.exec(capability.Legacy, `UPDATE watched SET v = 'changed' WHERE id = 2`)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 1)
			if _, err := m.VerifyChanged(t.Context(), capability.Legacy); err == nil {
				t.Error("a switch would pass over it")
			}
		})
	}
}
