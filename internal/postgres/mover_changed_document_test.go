package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// TestAChangedDocumentStopsABackfill: the process is killed in the middle of a copy, and
// whoever goes on with another mapping is refused before anything is touched. With what
// the move began with it goes on.
func TestAChangedDocumentStopsABackfill(t *testing.T) {
	inEachCapture(t, testAChangedDocumentStopsABackfill)
}

func testAChangedDocumentStopsABackfill(t *testing.T, kind capability.Capture) {
	document := func() *capability.Data {
		return &capability.Data{State: capability.DataRunning, Capture: kind, Rate: 1000, Tables: []capability.Table{
			{Table: "things", Where: "n <> 3", Columns: map[string]string{"note": "remark"}, Lossy: true, Omit: []string{"spare"}, Computed: []capability.Computed{{Column: "twice", Forward: "n * 2"}}},
			{Table: "others", Mode: capability.Copy},
		}}
	}
	m := newMigration(t, kind, `
		CREATE TABLE things (id int PRIMARY KEY, n int, note text, spare text); ALTER TABLE things REPLICA IDENTITY FULL;
		CREATE TABLE others (id int PRIMARY KEY, note text); CREATE TABLE more (id int PRIMARY KEY);
		INSERT INTO things SELECT i, i % 10, repeat('n', 200), 'spare' FROM generate_series(1, 6000) i; INSERT INTO others SELECT i FROM generate_series(1, 100) i`, document())
	m.exec(capability.Extracted, `CREATE TABLE things (id int PRIMARY KEY, twice int, n int, remark text, note text, spare text); CREATE TABLE others (id int PRIMARY KEY, note text); CREATE TABLE more (id int PRIMARY KEY); CREATE TABLE stuff (LIKE things INCLUDING ALL)`)
	m.chunkBytes = 48 << 10
	m.Mover = m.mover(document(), 1)
	child := m.process(2, document())
	m.copied(3)
	m.must(child.Kill())
	m.eventually("the sessions of the process are gone", func() (bool, string) {
		n := ask[int](m, capability.Extracted, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'strangler `+m.name+`%'`)
		return n == 0, fmt.Sprint(n)
	})
	if phase := m.move().Phase; phase != capability.PhaseBackfill {
		t.Fatalf("the copy was not killed in its middle: %s", phase)
	}
	const touched = `SELECT format('%s %s %s', (SELECT string_agg(c::text, ';' ORDER BY c::text) FROM strangler.chunk c), (SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM things t), (SELECT m::text FROM strangler.move m))`
	before := ask[string](m, capability.Extracted, touched)
	for name, change := range map[string]func(*capability.Data){
		"rows":          func(d *capability.Data) { d.Tables[0].Where = "n <> 4" },
		"all rows":      func(d *capability.Data) { d.Tables[0].Where = "" },
		"an expression": func(d *capability.Data) { d.Tables[0].Computed[0].Forward = "n * 3" },
		"a constant": func(d *capability.Data) {
			d.Tables[0].Computed[0] = capability.Computed{Column: "twice", Constant: "7"}
		},
		"no expression": func(d *capability.Data) { d.Tables[0].Computed = nil },
		"a column":      func(d *capability.Data) { d.Tables[0].Columns = nil },
		"omitted":       func(d *capability.Data) { d.Tables[0].Omit = nil },
		"a name":        func(d *capability.Data) { d.Tables[0].As = "stuff" },
		"a mode":        func(d *capability.Data) { d.Tables[1].Mode = "" },
		"one more":      func(d *capability.Data) { d.Tables = append(d.Tables, capability.Table{Table: "more"}) },
		"one less":      func(d *capability.Data) { d.Tables = d.Tables[:1] },
	} {
		changed := document()
		change(changed)
		err := m.mover(changed, 3).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "changed since the move began") || !strings.Contains(err.Error(), "strangler data reset "+m.name) {
			t.Errorf("%s: %v", name, err)
		}
		if after := ask[string](m, capability.Extracted, touched); after != before {
			t.Fatalf("%s: something was touched:\n%s\n%s", name, before, after)
		}
	}
	same := document()
	same.Rate, same.Gap, same.Tables[0].Line = 100000, 7, 99 // what a running move does follow
	m.Mover = m.mover(same, 4)
	m.follows(m.Mover)
	m.settled(capability.Legacy)
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM things WHERE twice = n * 2 AND n <> 3`); n != 5400 {
		t.Errorf("%d rows", n)
	}
	m.verify(capability.Legacy, 0)
}
