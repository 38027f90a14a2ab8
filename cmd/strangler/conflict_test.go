package main

import (
	"strings"
	"testing"

	"strangler/capability"
)

// TestConflict: a change that does not fit stops the move and says how to see the row
// and how to go on. Values are shown to whoever asks for them, and nowhere else.
func TestConflict(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "clashing")
	if out := h.types("data", "status", "clashing", "--show-values"); strings.Contains(out, "conflict") {
		t.Errorf("a conflict where there is none:\n%s", out)
	}
	h.sql(capability.Extracted, `SELECT pg_replication_origin_create('strangler_clashing_legacy_copy9'); SELECT pg_replication_origin_session_setup('strangler_clashing_legacy_copy9');
		BEGIN; SET LOCAL session_replication_role = replica; SELECT set_config('strangler.mover', capability || ':' || epoch, true) FROM strangler.gate;
		DELETE FROM orders WHERE id = 5; COMMIT; SELECT pg_replication_origin_session_reset()`)
	h.sql(capability.Legacy, `UPDATE orders SET note = 'hush ' || repeat('x', 300) WHERE id = 5`)
	h.eventually("the move has stopped", func(s capability.Status) bool {
		return s.Data.Phase == capability.PhaseFailed && strings.Contains(s.Data.Error, "row to update is missing")
	})
	for _, command := range [][]string{{"data", "status", "clashing"}, {"status", "clashing"}, {"status", "clashing", "--json"}, {"log", "clashing"}} {
		out := h.types(command...)
		if strings.Contains(out, "hush") || command[0] != "log" && (!strings.Contains(out, "strangler data status --show-values") || !strings.Contains(out, "strangler data repair")) {
			t.Errorf("%v:\n%s", command, out)
		}
	}
	out := h.types("data", "status", "clashing", "--show-values")
	for _, want := range []string{"update of table orders, from legacy: the row to update is missing", `note="hush xxx`, "xxx\"… (305 characters)", `extracted orders [id="5"]: no such row`, `legacy orders [id="5"]: id="5"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if out := h.types("data", "status", "clashing", "--show-values", "--json"); !strings.Contains(out, `"phase"`) || !strings.Contains(out, strings.Repeat("x", 300)) {
		t.Errorf("as JSON:\n%s", out)
	}
	h.types("data", "repair", "clashing")
	h.sql(capability.Extracted, `SELECT pg_replication_origin_session_setup('strangler_clashing_legacy_copy9');
		BEGIN; SET LOCAL session_replication_role = replica; SELECT set_config('strangler.mover', capability || ':' || epoch, true) FROM strangler.gate;
		UPDATE orders SET note = 'forked' WHERE id = 5; DELETE FROM orders WHERE id = 6; COMMIT; SELECT pg_replication_origin_session_reset()`)
	differs := func(flags ...string) string {
		out, status := h.try(append([]string{"data", "verify", "clashing"}, flags...)...)
		if status == 0 {
			t.Errorf("rows that differ are no error:\n%s", out)
		}
		return out
	}
	out = differs()
	if strings.Contains(out, "forked") || !strings.Contains(out, "column note differs") || !strings.Contains(out, "2 rows differ") {
		t.Errorf("a verification shows no value unless asked to:\n%s", out)
	}
	for command, out := range map[string]string{"verify": differs("--show-values"), "status": h.types("data", "status", "clashing", "--show-values")} {
		for _, want := range []string{"orders id=5: column note differs", `legacy orders [id="5"]: id="5"`, `note="hush xxx`, `note="forked"`, "orders id=6: only in legacy", `extracted orders [id="6"]: no such row`} {
			if !strings.Contains(out, want) {
				t.Errorf("data %s: %q is not in:\n%s", command, want, out)
			}
		}
	}
	if out := h.types("data", "status", "clashing", "--show-values", "--json"); !strings.Contains(out, `"differences"`) || !strings.Contains(out, "forked") {
		t.Errorf("as JSON:\n%s", out)
	}
	h.types("data", "repair", "clashing")
	h.sql(capability.Extracted, `SELECT pg_replication_origin_drop('strangler_clashing_legacy_copy9')`)
}
