package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// TestRetire is the end of a migration as a person types it.
func TestRetire(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "over")
	refused := func(why string, args ...string) {
		t.Helper()
		if out, status := h.try(append([]string{"retire", "over", "--observe", "1s"}, args...)...); status != 1 || !strings.Contains(out, why) {
			t.Errorf("strangler retire over %s: exit status %d, and not %q:\n%s", strings.Join(args, " "), status, why, out)
		}
	}
	refused("legacy owns over", "--yes")
	h.types("cutover", "over")
	refused("look first with: strangler retire over --dry-run")
	h.sql(capability.Legacy, `CREATE VIEW report AS SELECT count(*) FROM orders`)
	refused("view public.report reads", "--yes")
	refused("--despite dependents", "--dry-run")

	// A reader is found, and everything goes on as it was.
	reading, stop := context.WithCancel(t.Context())
	read := make(chan struct{})
	go func() {
		defer close(read)
		for reading.Err() == nil {
			if _, err := h.pools[capability.Legacy].Exec(reading, `SELECT * FROM report`); err != nil && reading.Err() == nil {
				t.Error(err)
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-reading.Done():
			}
		}
	}()
	refused("orders was read within", "--yes", "--despite", "dependents", "--observe", "3s")
	stop()
	<-read
	h.eventually("both streams live again", func(s capability.Status) bool { return s.Switch.Ready })

	if out := h.types("retire", "over", "--dry-run", "--despite", "dependents"); !strings.Contains(out, "strangler_archive_over") || !strings.Contains(out, "data.state: retired") {
		t.Errorf("a dry run:\n%s", out)
	}
	h.sql(capability.Legacy, `SELECT count(*) FROM orders`) // nobody is looking yet
	out := h.types("retire", "over", "--yes", "--despite", "dependents,scans")
	if !strings.Contains(out, "left out of account: view public.report") || !strings.Contains(out, "DROP SCHEMA strangler_archive_over CASCADE") {
		t.Errorf("retired:\n%s", out)
	}
	h.isRetired()
	if left := h.rows(capability.Legacy, `SELECT relname::text FROM pg_class WHERE relnamespace = 'strangler'::regnamespace AND relkind = 'r' ORDER BY 1`); strings.Join(left, " ") != "fence leader" {
		t.Errorf("left in legacy, beside what the controller leads by: %v", left)
	}
	if out := h.types("retire", "over", "--yes"); !strings.Contains(out, "is retired since") {
		t.Errorf("again:\n%s", out)
	}
	// A process that starts anew, with nothing but the document.
	h.down()
	h.must(os.RemoveAll(filepath.Join(h.dir, ".strangler")))
	h.down = h.up()
	h.eventually("known to be retired from the document alone", func(s capability.Status) bool { return !s.Effective.Retired.IsZero() })
	h.isRetired()
}

// isRetired looks at everything that is true of a capability that is.
func (h *house) isRetired() {
	t := h.t
	t.Helper()
	s := h.status()
	if e := s.Effective; e.Owner != capability.Extracted || e.Weight != capability.Whole || e.Retired.IsZero() || e.Shared || e.Refused != "" || s.Data.Phase != capability.PhaseRetired || s.Switch.Ready {
		t.Errorf("status: %+v", s)
	}
	content, err := os.ReadFile(filepath.Join(h.dir, "routes", h.name+".yaml"))
	h.must(err)
	for _, want := range []string{"state: retired", "owner: extracted     # who takes writes", "weight: 100%", "# The comment stays."} {
		if !strings.Contains(string(content), want) {
			t.Errorf("%q is not in the document:\n%s", want, content)
		}
	}
	if out := h.types("status", h.name); !strings.Contains(out, "retired since") {
		t.Errorf("status:\n%s", out)
	}
	h.sql(capability.Extracted, `INSERT INTO orders (note) VALUES ('on and on')`)
	for _, args := range [][]string{{"rollback", h.name}, {"rollback", h.name, "--dry-run"}, {"weight", h.name, "50%"}, {"data", "start", h.name}, {"data", "verify", h.name}, {"data", "repair", h.name}, {"data", "reset", h.name}} {
		if out, status := h.try(args...); status != 1 || !strings.Contains(out, "there is no way back") {
			t.Errorf("strangler %s: exit status %d\n%s", strings.Join(args, " "), status, out)
		}
	}
	if left := h.rows(capability.Extracted, `SELECT nspname::text FROM pg_namespace WHERE nspname = 'strangler' UNION ALL SELECT slot_name FROM pg_replication_slots WHERE database = current_database() UNION ALL SELECT pubname FROM pg_publication UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'strangler%'`); len(left) > 0 {
		t.Errorf("left in extracted: %v", left)
	}
	if left := h.rows(capability.Legacy, `SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database() UNION ALL SELECT pubname FROM pg_publication UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'strangler%' UNION ALL SELECT relname FROM pg_class WHERE relname = 'orders' AND relnamespace = 'public'::regnamespace`); len(left) > 0 {
		t.Errorf("left in legacy: %v", left)
	}
}
