package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// half is two tables that the document renames; keyed has the foreign keys between them.
const (
	half = `
	CREATE TABLE orders (region int, id int, PRIMARY KEY (region, id));
	CREATE TABLE lines (id int PRIMARY KEY, region int, "order" int, parent int);
	INSERT INTO orders SELECT 1, generate_series(1, 20); INSERT INTO lines SELECT n, 1, n, NULL FROM generate_series(1, 20) n;`
	keyed = `
	CREATE TABLE orders (region int, number int, PRIMARY KEY (region, number));
	CREATE TABLE items (id int PRIMARY KEY, region int, number int, parent int CONSTRAINT "its parent" REFERENCES items);
	ALTER TABLE items ADD CONSTRAINT ordered FOREIGN KEY (region, number) REFERENCES orders MATCH FULL ON DELETE CASCADE;`
)

func halfData() *capability.Data {
	data := tables("orders")
	data.Tables[0].Columns = map[string]string{"id": "number"}
	data.Tables = append(data.Tables, capability.Table{Table: "lines", As: "items", Columns: map[string]string{"order": "number"}})
	return data
}

// foreseen are the reasons against a switch, in one text.
func (m *migration) foreseen(from capability.Side) string {
	m.t.Helper()
	reasons, err := m.Foresee(m.t.Context(), from, m.Document.Data)
	m.must(err)
	return strings.Join(reasons, "\n")
}

// TestForeignKeysOfOneSide: what the owner writes past a key that the next owner takes
// for true is counted before a switch, there and back, and shown by a query.
func TestForeignKeysOfOneSide(t *testing.T) { inEachCapture(t, testForeignKeysOfOneSide) }

func testForeignKeysOfOneSide(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, half, halfData())
	m.exec(capability.Extracted, keyed)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	text := fmt.Sprint(plan.Notes)
	mends := map[string]string{
		"foreign key ordered of items to orders is kept on the extracted side only":   `ALTER TABLE public.lines ADD CONSTRAINT ordered FOREIGN KEY (region, "order") REFERENCES public.orders (region, id) MATCH FULL NOT VALID; ALTER TABLE public.lines VALIDATE CONSTRAINT ordered; -- in the legacy database`,
		`foreign key its parent of items to items is kept on the extracted side only`: `ALTER TABLE public.lines ADD CONSTRAINT "its parent" FOREIGN KEY (parent) REFERENCES public.lines (id)`,
	}
	for message, mend := range mends {
		if !strings.Contains(text, message) || !strings.Contains(text, mend) {
			t.Errorf("nothing of %q, %q in %s", message, mend, text)
		}
	}
	if len(problems) > 0 {
		t.Errorf("refused: %v", problems)
	}
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	if text := m.foreseen(capability.Legacy); text != "" {
		t.Errorf("no row breaks a key: %s", text)
	}
	m.exec(capability.Legacy, `INSERT INTO lines VALUES (21, 2, 99, 5), (22, 1, NULL, NULL), (23, NULL, NULL, 23); DELETE FROM orders WHERE id = 3; INSERT INTO lines VALUES (24, 1, 4, 999)`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0) // as both sides are equal, no comparison tells
	text = m.foreseen(capability.Legacy)
	for _, want := range []string{"3 rows of items break foreign key ordered of the extracted database, which the legacy one does not keep", "1 rows of items break foreign key its parent",
		"ALTER TABLE public.items DROP CONSTRAINT ordered, ADD CONSTRAINT ordered FOREIGN KEY (region, number) REFERENCES public.orders(region, number) MATCH FULL ON DELETE CASCADE NOT VALID"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s", want, text)
		}
	}
	_, query, _ := strings.Cut(text, "to see them: ")
	query, _, _ = strings.Cut(query, ";")
	if found := ask[string](m, capability.Extracted, `SELECT string_agg(id::text, ' ' ORDER BY id) FROM (`+query+`) q`); found != "3 21 22" && found != "24" {
		t.Errorf("%s shows %s", query, found)
	}
	// Each of the mends does.
	_, mend, _ := strings.Cut(text[strings.Index(text, "foreign key ordered"):], "in the extracted one: ")
	mend, _, _ = strings.Cut(mend, "\n")
	m.exec(capability.Extracted, mend)
	if text = m.foreseen(capability.Legacy); strings.Contains(text, "ordered") || !strings.Contains(text, "its parent") {
		t.Errorf("after one was mended: %s", text)
	}
	m.exec(capability.Legacy, `UPDATE lines SET parent = NULL WHERE id = 24`)
	m.settled(capability.Legacy)
	if text = m.foreseen(capability.Legacy); text != "" {
		t.Errorf("after both were: %s", text)
	}
	// With the keys on both sides nobody counts, and the legacy database keeps them.
	m.exec(capability.Legacy, `ALTER TABLE lines ADD CONSTRAINT mine FOREIGN KEY (parent) REFERENCES lines`)
	plan, _, err = m.Plan(t.Context())
	m.must(err)
	if text := fmt.Sprint(plan.Notes); strings.Contains(text, "kept on") {
		t.Errorf("noted: %s", text)
	}
	m.exec(capability.Legacy, `DELETE FROM lines WHERE id IN (3, 21, 22)`)
	m.exec(capability.Legacy, `ALTER TABLE lines ADD CONSTRAINT owned FOREIGN KEY ("order", region) REFERENCES orders (id, region) NOT VALID; ALTER TABLE lines ADD CONSTRAINT twice FOREIGN KEY (region, parent) REFERENCES orders`)
	plan, _, err = m.Plan(t.Context())
	m.must(err)
	if text := fmt.Sprint(plan.Notes); !strings.Contains(text, "foreign key twice of lines to orders is kept on the legacy side only") || !strings.Contains(text, "a rollback is refused") || strings.Contains(text, "owned") {
		t.Errorf("noted: %s", text)
	}
	// And back.
	m.exec(capability.Legacy, `ALTER TABLE lines DROP CONSTRAINT twice, DROP CONSTRAINT owned; ALTER TABLE lines ADD CONSTRAINT owned FOREIGN KEY (region, "order") REFERENCES orders`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `ALTER TABLE items DROP CONSTRAINT ordered; DELETE FROM orders WHERE number = 7`)
	m.settled(capability.Extracted)
	if text := m.foreseen(capability.Extracted); !strings.Contains(text, "1 rows of lines break foreign key owned of the legacy database, which the extracted one does not keep") || strings.Contains(text, "mine") {
		t.Errorf("on the way back: %s", text)
	}
}

// TestRowsThatStayBehindLeaveOrphans: a key of both sides does not hold where the row that
// is named stays behind.
func TestRowsThatStayBehindLeaveOrphans(t *testing.T) {
	t.Parallel()
	data := tables("orders")
	data.Tables[0].Where = "id < 10"
	data.Tables = append(data.Tables, capability.Table{Table: "lines"})
	const both = `CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE lines (id int PRIMARY KEY, of int REFERENCES orders);`
	m := newMigration(t, capability.CaptureWAL, both+`ALTER TABLE orders REPLICA IDENTITY FULL; INSERT INTO orders SELECT generate_series(1, 20); INSERT INTO lines VALUES (1, 9)`, data)
	m.exec(capability.Extracted, both)
	m.follows(m.Mover)
	m.exec(capability.Legacy, `INSERT INTO lines VALUES (2, 12)`)
	m.settled(capability.Legacy)
	if text := m.foreseen(capability.Legacy); !strings.Contains(text, "1 rows of lines break foreign key lines_of_fkey") {
		t.Errorf("foreseen: %q", text)
	}
}
