package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// TestSequencesByName: an application that asks for its numbers by a sequence's name
// gets new ones on the other side, there and back. What the document does not name is
// noted, where it may be keys of what moves.
func TestSequencesByName(t *testing.T) { inEachCapture(t, testSequencesByName) }

func testSequencesByName(t *testing.T, kind capability.Capture) {
	data := &capability.Data{State: capability.DataRunning, Gap: 20, Tables: []capability.Table{{Table: "orders"}, {Table: "details"}, {Table: "lines"}}}
	m := newMigration(t, kind, `
		CREATE SEQUENCE hibernate_sequence INCREMENT 50; CREATE SEQUENCE "Odd" INCREMENT -1 MAXVALUE 0 MINVALUE -100000 START 0; CREATE SEQUENCE unused; CREATE SEQUENCE claimed;
		CREATE TABLE orders (id bigint PRIMARY KEY);
		CREATE TABLE details (id bigint PRIMARY KEY REFERENCES orders, n int DEFAULT nextval('claimed'));
		CREATE TABLE lines (order_id int, line int, PRIMARY KEY (order_id, line));
		INSERT INTO orders SELECT nextval('hibernate_sequence') + n FROM generate_series(0, 49) n;
		SELECT nextval('"Odd"') FROM generate_series(1, 7)`, data).created()
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	notes := fmt.Sprint(plan.Notes)
	for text, said := range map[string]bool{"hibernate_sequence": true, "Odd": true, "unused": true, "claimed": false, "in orders.id come": true, "details.id": false, "lines": false} {
		if strings.Contains(notes, text) != said {
			t.Errorf("%s is named: %v, in %s", text, !said, notes)
		}
	}

	data.Sequences = []capability.NamedSequence{{Sequence: "hibernate_sequence", As: "order_ids", Line: 9}, {Sequence: "Odd", As: "Odd", Line: 10}, {Sequence: "claimed", As: "claimed", Line: 11}, {Sequence: "none", As: "none", Line: 12}}
	_, problems, err = m.Plan(t.Context())
	m.must(err)
	said := fmt.Sprint(problems)
	for _, text := range []string{"CREATE SEQUENCE order_ids AS bigint INCREMENT 50 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1", "the extracted database has no sequence Odd", "it fills a column that moves", "there is no sequence none in the legacy"} {
		if !strings.Contains(said, text) {
			t.Errorf("%q is missing in %s", text, said)
		}
	}

	data.Sequences = data.Sequences[:2]
	m.exec(capability.Extracted, `CREATE SEQUENCE order_ids INCREMENT 50; CREATE SEQUENCE "Odd"`)
	if _, problems, err = m.Plan(t.Context()); err != nil || len(problems) != 1 || !strings.Contains(problems[0].Message, "up on one side") {
		t.Errorf("%v %v", problems, err)
	}
	m.exec(capability.Extracted, `ALTER SEQUENCE "Odd" INCREMENT -1 MINVALUE -100000 MAXVALUE 0 START 0 RESTART`)
	plan, problems, err = m.Plan(t.Context())
	m.must(err)
	if notes := fmt.Sprint(plan.Notes); len(problems) > 0 || strings.Contains(notes, "hibernate_sequence") || !strings.Contains(notes, "unused") || !strings.Contains(fmt.Sprint(plan.Sequences), "hibernate_sequence") {
		t.Errorf("%v %s %v", problems, notes, plan.Sequences)
	}

	m.Mover = m.mover(data, 2)
	m.follows(m.Mover)
	m.must(m.CarrySequences(t.Context(), capability.Legacy))
	// 2451 was drawn last; the gap of 20 is one step of 50.
	if next := ask[int64](m, capability.Extracted, `SELECT nextval('order_ids')`); next != 2551 {
		t.Errorf("the next one is %d", next)
	}
	if next := ask[int64](m, capability.Extracted, `SELECT nextval('"Odd"')`); next != -27 {
		t.Errorf("the next one is %d", next)
	}
	m.exec(capability.Extracted, `SELECT nextval('order_ids') FROM generate_series(1, 5)`)
	m.must(m.CarrySequences(t.Context(), capability.Extracted))
	if next := ask[int64](m, capability.Legacy, `SELECT nextval('hibernate_sequence')`); next != 2901 {
		t.Errorf("back, the next one is %d", next)
	}
	m.exec(capability.Extracted, `DROP SEQUENCE order_ids`)
	if err := m.CarrySequences(t.Context(), capability.Legacy); err == nil || !strings.Contains(err.Error(), "no sequence order_ids in the extracted") {
		t.Errorf("without it: %v", err)
	}
}
