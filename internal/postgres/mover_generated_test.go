package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// TestGeneratedColumnsAreCompared: what both sides compute for themselves, by expressions
// that differ, is told by the plan, and seen by every comparison there is.
func TestGeneratedColumnsAreCompared(t *testing.T) { inEachCapture(t, testGeneratedColumnsAreCompared) }

func testGeneratedColumnsAreCompared(t *testing.T, kind capability.Capture) {
	data := tables("things")
	data.Tables[0].Columns = map[string]string{"twice": "double"}
	m := newMigration(t, kind, `CREATE TABLE things (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)`, data)
	m.exec(capability.Extracted, `CREATE TABLE things (id int PRIMARY KEY, n int, double int GENERATED ALWAYS AS (least(n, 100) * 2) STORED)`)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if text := fmt.Sprint(plan.Tables[0].Notes); len(problems) > 0 || !strings.Contains(text, "column twice is computed differently: (n * 2) on the legacy side, (LEAST(n, 100) * 2) on the extracted one") {
		t.Errorf("noted: %s, refused: %v", text, problems)
	}
	m.follows(m.Mover)
	m.exec(capability.Legacy, `INSERT INTO things VALUES (1, 1), (2, 100)`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	// By those that are written after it.
	m.exec(capability.Legacy, `INSERT INTO things VALUES (3, 3), (4, 101)`)
	m.settled(capability.Legacy)
	m.eventually("the row that is equal is compared, and the other one left", func() (bool, string) {
		n := m.UnverifiedKeys(capability.Legacy)
		return n == 1, fmt.Sprint(n)
	})
	found, err := m.VerifyChanged(t.Context(), capability.Legacy)
	m.must(err)
	if len(found) != 1 || found[0].Key != "id=4" || found[0].Detail != "column twice differs" {
		t.Errorf("found before a switch: %+v", found)
	}
	v := m.verify(capability.Legacy, 1)
	if v.Mismatches[0].Key != "id=4" || v.Mismatches[0].Detail != "column twice differs" {
		t.Errorf("found among all rows: %+v", v.Mismatches)
	}
	// On the way back alike.
	m.exec(capability.Legacy, `DELETE FROM things WHERE id = 4`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `INSERT INTO things VALUES (5, 5), (6, 500)`)
	m.settled(capability.Extracted)
	found, err = m.VerifyChanged(t.Context(), capability.Extracted)
	m.must(err)
	if len(found) != 1 || found[0].Key != "id=6" || found[0].Detail != "column twice differs" {
		t.Errorf("found before the switch back: %+v", found)
	}
}

// TestGeneratedColumnsThatGoAreNotCompared: when such a column is dropped, rows are compared
// without it.
func TestGeneratedColumnsThatGoAreNotCompared(t *testing.T) {
	inEachCapture(t, testGeneratedColumnsThatGoAreNotCompared)
}

func testGeneratedColumnsThatGoAreNotCompared(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, `CREATE TABLE things (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)`, tables("things")).created()
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	for n, side := range capability.Sides {
		m.exec(side, `ALTER TABLE things DROP twice`)
		m.eventually("all rows are compared, because the table was altered", func() (bool, string) {
			v, err := m.Verify(t.Context(), capability.Legacy, nil)
			return err == nil && v.Count == 0 && m.UnverifiedKeys(capability.Legacy) == 0, fmt.Sprint(v, err)
		})
		m.exec(capability.Legacy, fmt.Sprintf(`INSERT INTO things VALUES (%d, 7)`, n))
		m.settled(capability.Legacy)
		m.eventually("all changed rows are compared", func() (bool, string) {
			n := m.UnverifiedKeys(capability.Legacy)
			return n == 0, fmt.Sprint(n)
		})
	}
}

// TestGeneratedColumnsOfHalvesAreCompared: of two tables that become one, and of parts
// of one that is divided.
func TestGeneratedColumnsOfHalvesAreCompared(t *testing.T) {
	t.Parallel()
	data := &capability.Data{State: capability.DataRunning, TableLine: 7, Tables: []capability.Table{
		{Table: "people", As: "accounts", Joined: true, Line: 8}, {Table: "logins", As: "accounts", Joined: true, Line: 9},
	}}
	m := newMigration(t, capability.CaptureWAL, `CREATE TABLE people (id int PRIMARY KEY, name text, shout text GENERATED ALWAYS AS (upper(name)) STORED); CREATE TABLE logins (id int PRIMARY KEY, login text)`, data)
	m.exec(capability.Extracted, `CREATE TABLE accounts (id int PRIMARY KEY, name text, login text, shout text GENERATED ALWAYS AS (upper(replace(name, 'x', 'y'))) STORED)`)
	m.follows(m.Mover)
	m.exec(capability.Legacy, `BEGIN; INSERT INTO people VALUES (1, 'a'), (2, 'x'); INSERT INTO logins VALUES (1, 'a'), (2, 'b'); COMMIT`)
	m.settled(capability.Legacy)
	v := m.verify(capability.Legacy, 1)
	if v.Mismatches[0].Key != "id=2" || v.Mismatches[0].Detail != "column shout differs" {
		t.Errorf("found among all rows: %+v", v.Mismatches)
	}
	m.exec(capability.Legacy, `UPDATE people SET name = 'z' WHERE id = 2`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.exec(capability.Legacy, `UPDATE people SET name = 'xx' WHERE id = 1`)
	m.settled(capability.Legacy)
	found, err := m.VerifyChanged(t.Context(), capability.Legacy)
	m.must(err)
	if len(found) != 1 || found[0].Table != "people" || found[0].Detail != "column shout differs" {
		t.Errorf("found before a switch: %+v", found)
	}
}
