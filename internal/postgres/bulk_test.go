package postgres

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// bulkTables: the rows of the second exclude one another by more than their key.
const bulkTables = `
	CREATE TABLE plain (id int, part text, n int, pad text, PRIMARY KEY (part, id));
	CREATE TABLE slots (id int PRIMARY KEY, slot int NOT NULL UNIQUE, pad text);`

// model is what the tables must come to: rows by key, as the values of their
// columns.
type model struct {
	rows    [2]map[string][]string
	random  *rand.Rand
	changes []migrate.Change
}

func value(s string) migrate.Value { return migrate.Value{Text: []byte(s)} }

func key(table int, row []string) [][]byte {
	if table == 1 {
		return [][]byte{[]byte(row[0])}
	}
	return [][]byte{[]byte(row[1]), []byte(row[0])}
}

func (m *model) name(table int, row []string) string { return fmt.Sprintf("%s", key(table, row)) }

// freeSlot is one that no row has at this moment.
func (m *model) freeSlot() string {
	taken := map[string]bool{}
	for _, row := range m.rows[1] {
		taken[row[1]] = true
	}
	for {
		if s := strconv.Itoa(m.random.IntN(120)); !taken[s] {
			return s
		}
	}
}

// step makes one change that the rows allow.
func (m *model) step() {
	table := m.random.IntN(2)
	rows := m.rows[table]
	fresh := []string{strconv.Itoa(m.random.IntN(80)), "p" + strconv.Itoa(m.random.IntN(2)), strconv.Itoa(m.random.IntN(1000)), strings.Repeat("y\\\t'\"", m.random.IntN(4))}
	if table == 1 {
		fresh = []string{fresh[0], m.freeSlot(), fresh[3]}
	}
	c := migrate.Change{Kind: migrate.ChangeInsert, Table: table}
	now, exists := rows[m.name(table, fresh)]
	switch {
	case !exists:
	case m.random.IntN(3) == 0:
		c.Kind, c.Key = migrate.ChangeDelete, key(table, now)
		delete(rows, m.name(table, now))
		m.changes = append(m.changes, c)
		return
	case m.random.IntN(8) == 0:
		c.Kind, c.Key, c.Moved = migrate.ChangeUpdate, key(table, now), true
		for {
			fresh[0] = strconv.Itoa(m.random.IntN(80))
			if _, taken := rows[m.name(table, fresh)]; !taken {
				break
			}
		}
		delete(rows, m.name(table, now))
	default:
		c.Kind, c.Key = migrate.ChangeUpdate, key(table, now)
	}
	for i, text := range fresh {
		v := value(text)
		if c.Kind == migrate.ChangeUpdate && i == len(fresh)-1 && m.random.IntN(2) == 0 {
			v, fresh[i] = migrate.Value{Unchanged: true}, now[i]
		}
		c.Values = append(c.Values, v)
	}
	rows[m.name(table, fresh)] = fresh
	m.changes = append(m.changes, c)
}

func (m *model) text(table int) string {
	var lines []string
	for _, row := range m.rows[table] {
		lines = append(lines, strings.Join(row, "|"))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func bulkSession(t *testing.T) (*flow, migrate.Session) {
	t.Helper()
	f := newFlow(t, capability.CaptureWAL, bulkTables, bulkTables, capability.Table{Table: "plain"}, capability.Table{Table: "slots"})
	f.prepare(capability.Legacy)
	session, err := f.databases[capability.Extracted].Applier(t.Context(), f.name, capability.Legacy, 0, 1, f.mappings(capability.Legacy))
	f.must(err)
	t.Cleanup(func() { f.must(session.Close()) })
	return f, session
}

// content reads the tables as the model writes them.
func (f *flow) content(table int) string {
	columns := []string{`concat_ws('|', id, part, n, pad)`, `concat_ws('|', id, slot, pad)`}[table]
	return f.text(capability.Extracted, fmt.Sprintf(`SELECT coalesce(string_agg(r, E'\n' ORDER BY r COLLATE "C"), '') FROM (SELECT %s AS r FROM public.%s) x`, columns, []string{"plain", "slots"}[table]))
}

// TestBulksEndInTheSameRows: any changes, in pieces of any size, end in the rows
// that they end in one by one.
func TestBulksEndInTheSameRows(t *testing.T) {
	t.Parallel()
	f, session := bulkSession(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &model{rows: [2]map[string][]string{{}, {}}, random: rand.New(rand.NewPCG(7, seed))}
	for batch := range 60 {
		m.changes = nil
		for range 1 + m.random.IntN(250) {
			m.step()
		}
		all := m.changes
		for len(all) > 100 && m.random.IntN(2) == 0 { // a large transaction comes in pieces
			f.must(session.Apply(t.Context(), all[:60]))
			all = all[60:]
		}
		if err := session.Commit(t.Context(), all, capability.Position(1000+batch)); err != nil {
			t.Fatalf("%d changes: %v", len(m.changes), err)
		}
		for table := range 2 {
			if got, want := f.content(table), m.text(table); got != want {
				t.Fatalf("table %d:\n%s\nwant:\n%s", table, got, want)
			}
		}
	}
}

// TestBulksNameTheConflict: of many changes the one that does not fit is told.
func TestBulksNameTheConflict(t *testing.T) {
	t.Parallel()
	row := func(id string) []migrate.Value {
		return []migrate.Value{value(id), value("p"), value("1"), value("")}
	}
	at := func(id string) [][]byte { return [][]byte{[]byte("p"), []byte(id)} }
	for name, bad := range map[string][]migrate.Change{
		"update of what is not there":               {{Kind: migrate.ChangeUpdate, Key: at("77"), Values: row("77")}},
		"delete of what is not there":               {{Kind: migrate.ChangeDelete, Key: at("77")}},
		"insert of what is there":                   {{Kind: migrate.ChangeInsert, Values: row("1")}},
		"insert and delete of what is there":        {{Kind: migrate.ChangeInsert, Values: row("1")}, {Kind: migrate.ChangeDelete, Key: at("1")}},
		"delete and insert of what is not there":    {{Kind: migrate.ChangeDelete, Key: at("77")}, {Kind: migrate.ChangeInsert, Values: row("77")}},
		"update and delete of what is not there":    {{Kind: migrate.ChangeUpdate, Key: at("77"), Values: row("77")}, {Kind: migrate.ChangeDelete, Key: at("77")}},
		"insert that a constraint of a column bars": {{Kind: migrate.ChangeInsert, Values: []migrate.Value{value("77"), {}, value("1"), value("")}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, session := bulkSession(t)
			f.must(session.Commit(t.Context(), []migrate.Change{{Kind: migrate.ChangeInsert, Values: row("1")}}, 1000))
			var changes []migrate.Change
			for i := range 20 {
				changes = append(changes, migrate.Change{Kind: migrate.ChangeInsert, Values: row(strconv.Itoa(100 + i))})
			}
			changes = append(changes, bad...)
			for i := range 20 {
				changes = append(changes, migrate.Change{Kind: migrate.ChangeInsert, Values: row(strconv.Itoa(200 + i))})
			}
			f.must(session.Apply(t.Context(), changes[:10]))
			err := session.Commit(t.Context(), changes[10:], 1001)
			var conflict *migrate.ConflictError
			if !errors.As(err, &conflict) {
				t.Fatalf("got %v", err)
			}
			want := [][]byte{[]byte("p"), []byte("77")}
			if c := bad[0]; c.Kind == migrate.ChangeInsert {
				want = [][]byte{c.Values[1].Text, c.Values[0].Text}
			}
			if conflict.Key != migrate.KeyHash(want) {
				t.Errorf("the conflict names another row: %v", conflict)
			}
		})
	}
}

// BenchmarkApply is changes a second through one session, a commit for each 2000:
// updates of a hundred thousand rows, and as many inserts; and the same where one
// column is computed.
func BenchmarkApply(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkApply(b, false) })
	b.Run("computed", func(b *testing.B) { benchmarkApply(b, true) })
}

func benchmarkApply(b *testing.B, computed bool) {
	f := newFlow(b, capability.CaptureWAL, bulkTables, bulkTables, capability.Table{Table: "plain"}, capability.Table{Table: "slots"})
	if last := &f.pairs[0]; computed {
		last.Columns = last.Columns[:len(last.Columns)-1]
		last.Forward = []migrate.Computed{{Column: "pad", Expression: migrate.Expression{SQL: "(pad || '!'::text)", Type: "text", Inputs: []string{"pad"}}}}
	}
	f.prepare(capability.Legacy)
	f.exec(capability.Extracted, `INSERT INTO plain SELECT i, 'p', 0, '' FROM generate_series(1, 100000) i`)
	session, err := f.databases[capability.Extracted].Applier(b.Context(), f.name, capability.Legacy, 0, 1, f.mappings(capability.Legacy))
	f.must(err)
	defer session.Close() //nolint:errcheck // the benchmark's
	random := rand.New(rand.NewPCG(1, 2))
	next := 1_000_000
	b.ResetTimer()
	done := 0
	for b.Loop() {
		changes := make([]migrate.Change, 0, 2000)
		for range 1000 {
			id := strconv.Itoa(1 + random.IntN(100000))
			changes = append(changes, migrate.Change{Kind: migrate.ChangeUpdate, Key: [][]byte{[]byte("p"), []byte(id)}, Values: []migrate.Value{value(id), value("p"), value("5"), value("pad")}})
			next++
			changes = append(changes, migrate.Change{Kind: migrate.ChangeInsert, Values: []migrate.Value{value(strconv.Itoa(next)), value("p"), value("5"), value("pad")}})
		}
		f.must(session.Commit(b.Context(), changes, capability.Position(1000+done)))
		done += len(changes)
	}
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "changes/s")
}
