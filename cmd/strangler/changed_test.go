package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"strangler/capability"
)

// TestADocumentThatChangesWhileRowsAreCopied: a live move goes on with the mapping that it
// began with and says so; a process that starts anew with the changed one copies nothing;
// what is taken back goes on.
func TestADocumentThatChangesWhileRowsAreCopied(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := newHouse(t, "changing", "  rate: 300\n  tables:\n    - table: orders\n      where: id > 10\n")
	h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY, note text); ALTER TABLE orders REPLICA IDENTITY FULL; INSERT INTO orders (note) SELECT 'n' || i FROM generate_series(1, 3010) i`)
	h.types("data", "plan", "changing", "--create")
	down := h.up()
	path := filepath.Join(h.dir, "routes", "changing.yaml")
	edit := func(old, with string) {
		t.Helper()
		content, err := os.ReadFile(path)
		h.must(err)
		if !strings.Contains(string(content), old) {
			t.Fatalf("%q is not in\n%s", old, content)
		}
		h.must(os.WriteFile(path, []byte(strings.Replace(string(content), old, with, 1)), 0o644))
	}
	edit("state: stopped", "state: running")
	h.eventually("rows are copied", func(s capability.Status) bool {
		return s.Data.Phase == capability.PhaseBackfill
	})
	edit("where: id > 10", "where: id > 20")
	refused := func(s capability.Status) bool {
		return strings.Contains(s.Effective.Refused, "changed under a live move") && strings.Contains(s.Effective.Refused, "strangler data reset changing")
	}
	if s := h.eventually("the change refused", refused); s.Data.Phase != capability.PhaseBackfill {
		t.Errorf("refused only when all was copied: %s", s.Data.Phase)
	}
	if out, status := h.try("cutover", "changing"); status == 0 || !strings.Contains(out, "changing") {
		t.Errorf("switched under a changed document:\n%s", out)
	}
	down()
	down = h.up()
	s := h.eventually("a process that starts anew refuses it too", func(s capability.Status) bool {
		return s.Data.Phase == capability.PhaseFailed
	})
	if !strings.Contains(s.Data.Error, "changed since the move began") || !strings.Contains(s.Data.Error, "strangler data reset changing") {
		t.Errorf("refused by: %s", s.Data.Error)
	}
	edit("where: id > 20", "where: id > 10")
	edit("rate: 300", "rate: 100000")
	down()
	h.down = h.up()
	h.types("data", "start", "changing")
	h.types("data", "verify", "changing")
	h.same(`SELECT row(id, note)::text FROM public.orders WHERE id > 10`, `SELECT row(id, note)::text FROM public.orders`)
	if s := h.status(); s.Effective.Refused != "" {
		t.Errorf("refused still: %s", s.Effective.Refused)
	}

	// Another way to the same database, as a new password is: a controller that starts
	// anew takes it, and goes on.
	content, err := os.ReadFile(path)
	h.must(err)
	address := strings.TrimSuffix(regexp.MustCompile(`(?m)^ +database: .*"$`).FindString(string(content)), `"`)
	more := "?connect_timeout=9"
	if strings.Contains(address, "?") {
		more = "&connect_timeout=9"
	}
	edit(address, address+more)
	h.eventually("the new address refused", func(s capability.Status) bool {
		return strings.Contains(s.Effective.Refused, "address of the extracted database") && strings.Contains(s.Effective.Refused, "restart the controller")
	})
	h.down()
	h.down = h.up()
	h.types("cutover", "changing") // at once: it waits for the streams, and compares all rows
	if s := h.status(); s.Effective.Owner != capability.Extracted || s.Effective.Refused != "" {
		t.Errorf("by another way to the same database: %+v", s.Effective)
	}
}
