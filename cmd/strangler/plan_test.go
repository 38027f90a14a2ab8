package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/internal/config"
)

// TestPlanIsRead: the text has its four parts, fits a terminal, and fails where
// something is refused; the JSON has the names that scripts rely on.
func TestPlanIsRead(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := newHouse(t, "orders", "  tables:\n    - table: orders\n      columns: {note: remark}\n    - {table: lines, as: items}\n    - {table: countries, mode: copy, where: code <> 'XX', omit: [flag], columns: {label: {forward: \"'= ' || code\"}}}\n")
	h.sql(capability.Legacy, `CREATE TABLE countries (code text PRIMARY KEY, flag text); ALTER TABLE countries REPLICA IDENTITY FULL; CREATE TABLE customers (id int PRIMARY KEY, orders int);
		CREATE TABLE orders (id bigserial PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE, note text UNIQUE);
		CREATE TABLE lines (order_id bigint REFERENCES orders, n int, PRIMARY KEY (order_id, n));
		CREATE VIEW recent AS SELECT * FROM orders;
		CREATE FUNCTION close_old_orders() RETURNS void LANGUAGE sql AS 'DELETE FROM public.orders';
		INSERT INTO countries VALUES ('DE'); INSERT INTO orders (note) SELECT i FROM generate_series(1, 5000) i; ANALYZE`)
	out, status := h.try("data", "plan", "orders")
	t.Log(out)
	if status != 1 || !strings.Contains(out, "4 things stand against the move of orders") {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{
		"\nTables\n", "\nBorder\n", "\nRights and settings\n", "\nWhat happens\n",
		"✗ line 14: the extracted database has no table orders\n        strangler data plan orders --create\n",
		"add under data.border:  - {constraint: orders_customer_fkey, at_switch: drop}",
		"  foreign key orders_customer_fkey from orders to customers, ON DELETE CASCADE, not agreed to\n    - a row of orders may name a row of customers that is not there\n    - deleting from customers no longer deletes from orders\n",
		"view public.recent reads and may write orders: reads a copy", "function public.close_old_orders() writes orders (by its text): is refused",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing of %q", want)
		}
	}
	for line := range strings.Lines(out) {
		if text := strings.TrimSpace(line); visible(text) > 100 && !strings.HasPrefix(text, "ALTER ") && !strings.HasPrefix(text, "CREATE ") {
			t.Errorf("too wide: %s", text)
		}
	}
	h.types("data", "plan", "orders", "--create")
	h.write("routes/orders.yaml", strings.Replace(h.read("routes/orders.yaml"), "  tables:", "  border: [{constraint: orders_customer_fkey, at_switch: drop}]\n  tables:", 1))
	out = h.types("data", "plan", "orders")
	t.Log(out)
	for _, want := range []string{"    rows: where (code <> 'XX'::text)\n", "    computed, text: label = ('= '::text || code)\n", "    stay behind: flag\n", "    columns: note becomes remark\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing of %q", want)
		}
	}
	var answer struct {
		Plan struct {
			Tables []map[string]any `json:"tables"`
		} `json:"plan"`
		Problems []map[string]any `json:"problems"`
	}
	h.must(json.Unmarshal([]byte(h.types("data", "plan", "orders", "--json")), &answer))
	var names []string
	for name := range answer.Plan.Tables[0] {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"as", "bytes", "chunks", "disk", "estimate_ns", "identity", "mode", "renames", "rows", "table", "verdict"}; !slices.Equal(names, want) || len(answer.Problems) > 0 {
		t.Errorf("%v, %v", names, answer.Problems)
	}
	if out := h.types("data", "plan", "orders", "--observe", "1s"); !strings.Contains(out, "wrote tables of orders, and 0 of these") {
		t.Error(out)
	}
	if out, status := h.try("data", "plan", "orders", "--observe", "2h"); status != 2 {
		t.Error(out)
	}
	if ddl := h.types("data", "plan", "orders", "--ddl"); !strings.Contains(ddl, "no table is missing") {
		t.Error(ddl)
	}
}

func (h *house) read(name string) string {
	h.t.Helper()
	content, err := os.ReadFile(filepath.Join(h.dir, name))
	h.must(err)
	return string(content)
}

// TestMoversAreBoundByTheConfiguration: mover.rate is for documents that say nothing,
// and the document itself stays as it was read.
func TestMoversAreBoundByTheConfiguration(t *testing.T) {
	t.Parallel()
	settings := config.Config{Rate: 500, Restraint: capability.Restraint{Busy: 7}}
	for written, want := range map[int]int{0: 500, 20: 20} {
		doc := capability.Document{Name: "orders", Data: &capability.Data{Rate: written}}
		mover := newMover(settings, doc, nil, nil, nil, 0, slog.New(slog.DiscardHandler))
		if got := mover.Document.Data.Rate; got != want || doc.Data.Rate != written || mover.Restraint != settings.Restraint {
			t.Errorf("a document with %d: %d rows a second, %+v, and then it has %d", written, got, mover.Restraint, doc.Data.Rate)
		}
	}
}

// TestPlanSaysWhomItWaitsFor: somebody who has a table for himself keeps the catalog's
// questions waiting, and is named.
func TestPlanSaysWhomItWaitsFor(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := newHouse(t, "orders", "  tables:\n    - table: orders\n")
	h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY)`)
	migration, err := h.pools[capability.Legacy].Begin(t.Context())
	h.must(err)
	_, err = migration.Exec(t.Context(), `SET LOCAL application_name = 'migration 7'; LOCK TABLE orders`)
	h.must(err)
	said := make(chan string, 1)
	go func() {
		out, _ := h.try("data", "plan", "orders")
		said <- out
	}()
	give, tick := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for asked := false; !asked; {
		select {
		case <-give:
			t.Fatal("nobody asks whom the plan waits for")
		case <-tick.C:
		}
		// What was asked before it began to wait was answered with nobody.
		h.must(h.pools[capability.Legacy].QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity waiter JOIN pg_locks l ON l.pid = waiter.pid AND NOT l.granted
			JOIN pg_stat_activity asker ON asker.query LIKE '%pg_blocking_pids(l.pid)%' AND asker.state = 'idle' AND asker.query_start > l.waitstart
			WHERE waiter.datname = current_database() AND asker.datname = current_database()
			  AND waiter.application_name LIKE 'strangler%' AND asker.application_name LIKE 'strangler%')`).Scan(&asked))
	}
	h.must(migration.Commit(t.Context()))
	out := <-said
	if !strings.Contains(out, "waiting in the legacy database for pid ") || !strings.Contains(out, "migration 7), which has had public.orders for itself for ") || strings.Count(out, "waiting") != 1 {
		t.Errorf("nothing is said of whom it waits for:\n%s", out)
	}
	if !strings.Contains(out, "\nWhat happens\n") {
		t.Errorf("it did not go on:\n%s", out)
	}
}
