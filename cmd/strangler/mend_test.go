package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// settled is a house whose one table is followed and verified.
func settled(t *testing.T, name string) *house {
	t.Helper()
	h := newHouse(t, name, "  tables:\n    - table: orders\n")
	h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY, note text); INSERT INTO orders (note) SELECT 'n' || i FROM generate_series(1, 500) i`)
	h.types("data", "plan", name, "--create")
	h.down = h.up()
	h.types("data", "start", name)
	h.types("data", "verify", name)
	return h
}

func (h *house) sql(side capability.Side, script string) {
	h.t.Helper()
	conn, err := h.pools[side].Acquire(h.t.Context())
	h.must(err)
	defer conn.Release()
	_, err = conn.Conn().PgConn().Exec(h.t.Context(), script).ReadAll()
	h.must(err)
}

// eventually looks at the status until it is as wanted.
func (h *house) eventually(what string, wanted func(capability.Status) bool) capability.Status {
	h.t.Helper()
	var s capability.Status
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if s = h.status(); wanted(s) {
			return s
		}
	}
	h.t.Fatalf("%s never came true: %+v", what, s)
	return s
}

// TestHalfASwitchIsMended: gates are left as a controller that died would leave
// them, and the one that is there does what they allow.
func TestHalfASwitchIsMended(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "mended")
	h.sql(capability.Legacy, `SELECT strangler.shut_gate('mended', 1, 2, 'closing', '1 hour', 'left')`)
	h.eventually("a closing gate opened again", func(s capability.Status) bool {
		return s.Data.Gates[capability.Legacy].State == capability.Open && s.Data.Gates[capability.Legacy].Epoch == 3 && s.Effective.Owner == capability.Legacy
	})
	h.sql(capability.Legacy, `SELECT strangler.shut_gate('mended', 3, 4, 'sealed', NULL, 'left')`)
	s := h.eventually("a switch past its commit point finished", func(s capability.Status) bool { return s.Effective.Owner == capability.Extracted })
	if e := s.Data.Gates[capability.Extracted]; e.State != capability.Open || e.Epoch != 5 || s.Effective.Phase != capability.Steady {
		t.Errorf("gate %+v, state %+v", e, s.Effective)
	}
	// The document asks for legacy, and may get it by itself before anybody has written.
	if _, err := h.pools[capability.Extracted].Exec(t.Context(), `INSERT INTO orders (id, note) VALUES (100000, 'new side')`); err != nil && !strings.Contains(err.Error(), `capability "mended"`) {
		t.Error(err)
	}
	h.eventually("no switch runs", func(s capability.Status) bool {
		return s.Effective.Phase == capability.Steady && s.Effective.Attempt != nil
	})
	h.types("rollback", "mended")
	h.sql(capability.Legacy, `INSERT INTO orders (note) VALUES ('old side')`)
	h.same(`SELECT row(id, note)::text FROM public.orders WHERE note <> 'old side'`, `SELECT row(id, note)::text FROM public.orders WHERE note <> 'old side'`)
	if log := h.types("log", "mended"); !strings.Contains(log, "mend gates: undo") || !strings.Contains(log, "mend gates: finish") {
		t.Error("the ledger does not tell of the mending")
	}
}

// TestOwnerInTheDocument: a changed owner is tried once per change; what was
// refused shows, and the comment in the file stays.
func TestOwnerInTheDocument(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "edited")
	path := filepath.Join(h.dir, "routes", "edited.yaml")
	edit := func(old, with string) {
		t.Helper()
		content, err := os.ReadFile(path)
		h.must(err)
		if !strings.Contains(string(content), old) {
			t.Fatalf("%q is not in\n%s", old, content)
		}
		h.must(os.WriteFile(path, []byte(strings.Replace(string(content), old, with, 1)), 0o644))
	}
	blocker, err := h.pools[capability.Legacy].Begin(t.Context())
	h.must(err)
	_, err = blocker.Exec(t.Context(), `UPDATE orders SET note = note WHERE id = 1`)
	h.must(err)
	edit("owner: legacy", "owner: extracted")
	s := h.eventually("an attempt against a held lock refused", func(s capability.Status) bool { return s.Effective.Refused != "" })
	if a := s.Effective.Attempt; a == nil || a.Outcome != capability.Undone || s.Effective.Owner != capability.Legacy || !strings.Contains(s.Effective.Refused, "locked") {
		t.Errorf("refused %q, attempt %+v", s.Effective.Refused, a)
	}
	if g := s.Data.Gates[capability.Legacy]; g.State != capability.Open {
		t.Errorf("the gate is %+v", g)
	}
	h.must(blocker.Commit(t.Context()))
	edit("# The comment stays.", "# The comment stays, once more.")
	h.eventually("the changed document tried again", func(s capability.Status) bool { return s.Effective.Owner == capability.Extracted })
	h.types("rollback", "edited")
	content, err := os.ReadFile(path)
	h.must(err)
	if !strings.Contains(string(content), "owner: legacy     # who takes writes") || !strings.Contains(string(content), "once more") {
		t.Errorf("the document after the rollback:\n%s", content)
	}
}

// TestRestart: a process that starts anew finds who owns, follows both ways from
// where it was, and still takes everything back.
func TestRestart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "restarted")
	h.types("cutover", "restarted")
	h.down()
	h.sql(capability.Extracted, `INSERT INTO orders (note) SELECT 'while nobody looked ' || i FROM generate_series(1, 300) i; UPDATE orders SET note = note || '!' WHERE id <= 100`)
	h.down = h.up()
	s := h.eventually("both streams live", func(s capability.Status) bool { return s.Switch.Ready })
	if s.Effective.Owner != capability.Extracted || s.Effective.Weight != capability.Whole || !s.Switch.Verify {
		t.Errorf("after the restart: %+v %+v", s.Effective, s.Switch)
	}
	h.types("rollback", "restarted", "--dry-run")
	h.types("rollback", "restarted")
	h.types("data", "pause", "restarted")
	h.sql(capability.Legacy, `DELETE FROM orders WHERE id > 400; INSERT INTO orders (note) VALUES ('paused')`)
	if out, status := h.try("cutover", "restarted"); status == 0 || !strings.Contains(out, "paused") {
		t.Errorf("a cutover while the data is paused:\n%s", out)
	}
	h.types("data", "resume", "restarted")
	h.types("cutover", "restarted")
	if n := h.same(`SELECT row(id, note)::text FROM public.orders`, `SELECT row(id, note)::text FROM public.orders`); n != 401 {
		t.Errorf("%d rows", n)
	}
	if out, status := h.try("data", "reset", "restarted"); status == 0 || !strings.Contains(out, "rollback") {
		t.Errorf("a reset while extracted owns:\n%s", out)
	}
	h.types("rollback", "restarted")
	if out := h.types("data", "reset", "restarted", "--dry-run"); !strings.Contains(out, "empty the extracted tables") || h.status().Data.Phase != capability.PhaseFollowing {
		t.Errorf("a dry run of the reset:\n%s", out)
	}
	h.types("data", "reset", "restarted")
	for _, side := range capability.Sides {
		h.sql(side, `INSERT INTO orders (id, note) VALUES (900000, 'nobody guards')`)
		if left := h.rows(side, `SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database() UNION ALL SELECT pubname FROM pg_publication UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'strangler%'`); len(left) > 0 {
			t.Errorf("%s: the reset leaves %v", side, left)
		}
	}
}

// TestRepair: differing rows are mended while both streams run, and a move whose
// slot is gone goes on without a new copy.
func TestRepair(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "repaired")
	// As if the mover itself had been wrong.
	h.sql(capability.Extracted, `SELECT pg_replication_origin_create('strangler_repaired_legacy_copy9'); SELECT pg_replication_origin_session_setup('strangler_repaired_legacy_copy9');
		BEGIN; SET LOCAL session_replication_role = replica; SELECT set_config('strangler.mover', capability || ':' || epoch, true) FROM strangler.gate;
		DELETE FROM orders WHERE id = 5; UPDATE orders SET note = 'wrong' WHERE id = 6; COMMIT; SELECT pg_replication_origin_session_reset()`)
	if out, status := h.try("data", "verify", "repaired"); status == 0 || !strings.Contains(out, "strangler data repair repaired") {
		t.Errorf("a verification that finds differences:\n%s", out)
	}
	if out := h.types("data", "verify", "repaired", "--repair"); !strings.Contains(out, "2 rows were mended") {
		t.Errorf("a repair:\n%s", out)
	}
	h.types("data", "pause", "repaired")
	if out, status := h.try("data", "repair", "repaired"); status == 0 || !strings.Contains(out, "data resume") {
		t.Errorf("a repair while the data is paused:\n%s", out)
	}
	h.sql(capability.Legacy, `SELECT pg_drop_replication_slot('strangler_repaired_legacy'); UPDATE orders SET note = 'nobody saw it' WHERE id = 7`)
	if out, status := h.try("data", "resume", "repaired"); status == 0 || !strings.Contains(out, "strangler data repair repaired") {
		t.Errorf("following without the slot:\n%s", out)
	}
	if out := h.types("data", "repair", "repaired"); !strings.Contains(out, "1 rows were mended") || !strings.Contains(out, "rows equal") {
		t.Errorf("the repair of a move that cannot go on:\n%s", out)
	}
	h.types("cutover", "repaired")
	h.same(`SELECT row(id, note)::text FROM public.orders`, `SELECT row(id, note)::text FROM public.orders`)
	h.sql(capability.Extracted, `SELECT pg_replication_origin_drop('strangler_repaired_legacy_copy9')`)
}

// TestRefusedWeight: a weight that cannot be honoured is not left in the document,
// where it would come into effect when nobody looks.
func TestRefusedWeight(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := newHouse(t, "early", "  tables:\n    - table: orders\n")
	for _, side := range capability.Sides {
		h.sql(side, `CREATE TABLE orders (id bigint PRIMARY KEY)`)
	}
	h.up()
	path := filepath.Join(h.dir, "routes", "early.yaml")
	before, err := os.ReadFile(path)
	h.must(err)
	if out, status := h.try("weight", "early", "10%"); status != 1 || !strings.Contains(out, "the move of the data has not begun; the document is as it was") {
		t.Errorf("a weight before the data is there: exit status %d\n%s", status, out)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the document after a refused weight (%v):\n%s", err, after)
	}
	if s := h.status(); s.Effective.Refused != "" || s.Desired.Weight != 0 {
		h.eventually("the refusal forgotten", func(s capability.Status) bool { return s.Effective.Refused == "" && s.Desired.Weight == 0 })
	}
	h.types("data", "start", "early")
	h.types("weight", "early", "10%")
	h.types("data", "pause", "early")
	if out, status := h.try("weight", "early", "20%"); status != 1 || !strings.Contains(out, "as it was") {
		t.Errorf("a weight while the data is paused: exit status %d\n%s", status, out)
	}
	if s := h.status(); s.Desired.Weight != 1000 {
		t.Errorf("the document asks for %s", s.Desired.Weight)
	}
}

// TestBrokenDocumentAtRunTime: the last good one serves, and the status shows why.
func TestBrokenDocumentAtRunTime(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "broken")
	h.types("weight", "broken", "10%")
	path := filepath.Join(h.dir, "routes", "broken.yaml")
	good, err := os.ReadFile(path)
	h.must(err)
	// As editors do it: a file that is written in place is empty for a moment, and that
	// would be the first problem shown.
	h.must(os.WriteFile(path+".next", []byte(strings.Replace(string(good), "weight: 10%", "weight: 101%", 1)), 0o644))
	h.must(os.Rename(path+".next", path))
	s := h.eventually("the problem shown", func(s capability.Status) bool { return len(s.Problems) > 0 })
	if p := s.Problems[0]; p.Path != "traffic.weight" || p.Line == 0 || p.Mend == "" || s.Effective.Weight != 1000 {
		t.Errorf("problem %+v, weight %s", p, s.Effective.Weight)
	}
	if out := h.types("route", "explain", "GET", "/api/broken/7"); !strings.Contains(out, "capability broken claims it") {
		t.Error("the last good document does not serve")
	}
	h.must(os.WriteFile(path, good, 0o644))
	h.write("routes/new.yaml", "capability: new\nroutes: nonsense\n")
	h.eventually("a new document's problem shown", func(capability.Status) bool { return strings.Contains(h.types("status"), "new.yaml:2") })
	h.must(os.Remove(filepath.Join(h.dir, "routes", "new.yaml")))
	h.eventually("the problem gone", func(s capability.Status) bool { return len(s.Problems) == 0 })
}

// TestEveryProblemAtOnce is what a person gets who made every mistake.
func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := newHouse(t, "first", `  tables:
    - table: orders
    - table: nokey
    - table: nothere
    - table: renamed
      columns: {absent: elsewhere}
`)
	h.sql(capability.Legacy, `CREATE TABLE customers (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY, customer int CONSTRAINT orders_to_customers REFERENCES customers);
		CREATE TABLE nokey (a int); CREATE TABLE renamed (id int PRIMARY KEY)`)
	h.sql(capability.Extracted, `CREATE TABLE orders (id int PRIMARY KEY, customer int); CREATE TABLE nokey (a int); CREATE TABLE renamed (id int PRIMARY KEY)`)
	h.write("routes/second.yaml", "capability: second\nroutes:\n  - path: /api/first/{id}\nextracted:\n  endpoints: [http://127.0.0.1:1]\ntraffic:\n  owner: legacy\n")
	h.write("routes/third.yaml", "capability: third\nroutes:\n  - path: /api/third\n    speed: high\nextracted:\n  endpoints: [http://127.0.0.1:1]\ntraffic:\n  weight: 101%\n")
	h.write("routes/fourth.yaml", "capability: fourth\nroutes:\n  - path: /api/fourth\nextracted:\n  endpoints: [http://127.0.0.1:1]\ndata:\n  database: postgres://127.0.0.1:1/nobody\n  tables: [{table: customers}]\n")
	for _, verb := range []string{"check", "up"} {
		out, status := h.try(verb)
		if status == 0 {
			t.Errorf("%s succeeds", verb)
		}
		for _, want := range []string{
			"third.yaml:4: routes[0].speed", "third.yaml:8: traffic.weight = \"101%\"", "orders_to_customers", "nokey", "nothere", "absent", "127.0.0.1:1", "fourth.yaml",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not say %q:\n%s", verb, want, out)
			}
		}
	}
	h.write("routes/overlap.yaml", "capability: overlap\nroutes:\n  - path: /api/first/**\nextracted:\n  endpoints: [http://127.0.0.1:1]\n")
	if out, status := h.try("check"); status == 0 || !strings.Contains(out, "/api/first/**") {
		t.Errorf("two capabilities claim the same:\n%s", out)
	}
	h.write("config.yaml", "listen: nonsense\nlisten2: 5\nlegacy:\n  endpoints: [ftp://x]\n  database: ${NOT_SET_ANYWHERE}\nroutes: routes\n")
	out, status := h.try("check")
	for _, want := range []string{"config.yaml:1: listen", "config.yaml:2: listen2", "config.yaml:4: legacy.endpoints", "config.yaml:5: legacy.database", "third.yaml:8"} {
		if status == 0 || !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
}
