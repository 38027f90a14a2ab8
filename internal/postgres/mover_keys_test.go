package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
)

// keyArrays are the samples of whose arrays there are keys as well.
var keyArrays = []string{"int4", "text", "float8", "numeric", "inet", "own_mood", "own_pair", "own_padded", "citext"}

// keyed are samples whose types can be a key's, by asking the server; what is not
// one is named. Arrays of some are among them.
func (m *migration) keyed(samples []sample) (keyed []sample) {
	m.t.Helper()
	for _, s := range samples {
		list := []sample{s}
		if slices.Contains(keyArrays, s.name) {
			list = append(list, arrayed(s))
		}
		for _, s := range list {
			err := m.try(capability.Legacy, fmt.Sprintf("CREATE TABLE can_be (k %s PRIMARY KEY); DROP TABLE can_be", s.typ))
			switch sqlstate.Of(err) {
			case "":
				if s.typ == "own.moody" { // TestEveryTypeIsAccountedFor has it refused
					continue
				}
				m.must(err)
				keyed = append(keyed, s)
			case "42704": // has no default operator class for access method btree
				m.t.Logf("no key: %s", s.typ)
			default:
				m.must(err)
			}
		}
	}
	return keyed
}

// keyTable is the name of a sample's table.
func (s sample) keyTable() string { return "k_" + strings.ToLower(s.name) }

// TestEveryKeyArrives: a table whose primary key is of any type that has an order
// moves as it is, though equal keys may have several texts, and the order of
// keys may mean something else to two servers; and a difference is told of the row
// that has it, wherever in the order it stands.
func TestEveryKeyArrives(t *testing.T) { inEachCapture(t, testEveryKeyArrives) }

func testEveryKeyArrives(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, ownTypes, nil)
	all := m.keyed(slices.Concat(builtin, modified, own, m.extensions()))
	data := &capability.Data{State: capability.DataRunning, Capture: kind}
	conn, err := pgx.Connect(t.Context(), m.urls[capability.Legacy])
	m.must(err)
	defer conn.Close(t.Context()) //nolint:errcheck // test session
	// run lets a session of the application execute what the server may refuse: a
	// value that is equal to another one is one key, and some values are too large.
	run := func(statement string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil && !slices.Contains([]string{"23505", "23502", "54000"}, sqlstate.Of(err)) {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for _, s := range all {
		run(fmt.Sprintf("CREATE TABLE %s (k %s PRIMARY KEY, v text)", s.keyTable(), s.typ))
		for i, v := range s.values {
			run(fmt.Sprintf("INSERT INTO %s VALUES (%s, 'v%d')", s.keyTable(), v, i))
		}
		data.Tables = append(data.Tables, capability.Table{Table: s.keyTable()})
	}
	m.Mover = m.mover(data, 1)
	m.created()
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	same := func(from capability.Side) {
		t.Helper()
		m.settled(from)
		for _, s := range all {
			if n := m.bytewiseAsNamed(s.keyTable()); n == 0 {
				t.Errorf("%s is empty", s.keyTable())
			}
		}
		if t.Failed() {
			t.FailNow()
		}
		m.eventually("all changed rows are compared", func() (bool, string) {
			return m.UnverifiedKeys(from) == 0, fmt.Sprint(m.UnverifiedKeys(from), m.Status().Error)
		})
		m.verify(from, 0)
	}
	same(capability.Legacy)
	for _, owner := range capability.Sides {
		if conn, err = pgx.Connect(t.Context(), m.urls[owner]); err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context()) //nolint:errcheck // test session
		run(oddly)
		for _, s := range all {
			table := s.keyTable()
			for i, v := range s.values {
				run(fmt.Sprintf("UPDATE %s SET v = v || ' again' WHERE k = %s", table, v))
				// From one text of a key to another, and to other keys.
				run(fmt.Sprintf("UPDATE %s SET k = %s WHERE k = %s", table, v, v))
				run(fmt.Sprintf("UPDATE %s SET k = %s, v = 'moved' WHERE k = %s", table, s.value(i+1), v))
				run(fmt.Sprintf("BEGIN; DELETE FROM %[1]s WHERE k = %[2]s; INSERT INTO %[1]s VALUES (%[2]s, 'anew'); COMMIT", table, v))
			}
			run("ROLLBACK") // what one of them has left
			// Many at once, and each key by all the texts that it has.
			var b strings.Builder
			for i, v := range s.values {
				fmt.Fprintf(&b, "DELETE FROM %[1]s WHERE k = %[2]s; INSERT INTO %[1]s VALUES (%[2]s, 'together %[3]d'); UPDATE %[1]s SET v = v || '.' WHERE k = %[4]s; ", table, v, i, s.value(i+1))
			}
			run("BEGIN; " + b.String() + "COMMIT")
			run("ROLLBACK")
		}
		same(owner)
		m.switchTo(owner.Other())
	}
	same(capability.Legacy)
	// One row of each is gone and one differs: nothing else may be told.
	var b strings.Builder
	differences := int64(0)
	for _, s := range all {
		rows := ask[int64](m, capability.Extracted, `SELECT count(*) FROM `+s.keyTable())
		fmt.Fprintf(&b, "DELETE FROM %[1]s WHERE ctid = (SELECT ctid FROM %[1]s ORDER BY k OFFSET %[2]d LIMIT 1); ", s.keyTable(), rows/3)
		fmt.Fprintf(&b, "UPDATE %[1]s SET v = 'wrong' WHERE ctid = (SELECT ctid FROM %[1]s ORDER BY k DESC OFFSET %[2]d LIMIT 1); ", s.keyTable(), (rows-1)/3)
		differences += min(2, rows)
	}
	m.rogue(capability.Extracted, "SET search_path = public; "+b.String())
	v := m.verify(capability.Legacy, differences)
	told := map[string]int{}
	for _, mismatch := range v.Mismatches {
		told[mismatch.Table+" "+mismatch.Detail]++
	}
	for what, n := range told {
		if n > 1 {
			t.Errorf("told %d times: %s", n, what)
		}
	}
	m.snapshotAge = time.Nanosecond // it goes on behind a key, again and again
	m.SnapshotAge = m.snapshotAge
	m.verify(capability.Legacy, differences)
	_, err = m.Repair(t.Context(), capability.Legacy, nil)
	m.must(err)
	same(capability.Legacy)
}
