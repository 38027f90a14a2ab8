package postgres

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// TestObserveCountsWhatCrosses: exactly the transactions that write on both
// sides, whatever they are called and however they write.
func TestObserveCountsWhatCrosses(t *testing.T) {
	t.Parallel()
	data := tables("orders", `Odd "Schema.a.b: "c"`)
	data.Tables = append(data.Tables, capability.Table{Table: "countries", Mode: capability.Copy})
	m := newMigration(t, capability.CaptureWAL, `CREATE SCHEMA "Odd ""Schema"; CREATE SCHEMA strangler; CREATE TABLE strangler.own (id int); CREATE TABLE orders (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (3); CREATE TABLE high PARTITION OF orders DEFAULT; CREATE TABLE "Odd ""Schema"."a.b: ""c""" (id int PRIMARY KEY);
		CREATE TABLE countries (id int PRIMARY KEY); CREATE TABLE stock (id int PRIMARY KEY, n int); INSERT INTO stock VALUES (1, 1)`, data)
	type answer struct {
		o   migrate.Observation
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		o, err := m.Observe(t.Context(), 3*time.Second)
		answers <- answer{o, err}
	}()
	m.eventually("the slot is there", func() (bool, string) {
		return ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database() AND confirmed_flush_lsn IS NOT NULL)`), ""
	})
	for _, transaction := range []string{
		`INSERT INTO "Odd ""Schema"."a.b: ""c""" VALUES (1); UPDATE stock SET n = 7`,
		`INSERT INTO orders VALUES (1)`, `INSERT INTO orders VALUES (2); UPDATE stock SET n = 2`, `UPDATE stock SET n = 3; DELETE FROM orders WHERE id = 2`,
		`UPDATE stock SET n = 4`, `INSERT INTO orders VALUES (3); INSERT INTO strangler.own VALUES (1)`, `INSERT INTO strangler.own VALUES (2)`,
		`INSERT INTO orders VALUES (4); INSERT INTO countries VALUES (1); UPDATE stock SET n = 5`, `TRUNCATE orders, stock`,
		`BEGIN; INSERT INTO orders VALUES (5); UPDATE stock SET n = 6; ROLLBACK`,
	} {
		m.exec(capability.Legacy, transaction)
	}
	got := <-answers
	m.must(got.err)
	want := []migrate.Crossing{{Inside: "orders", Outside: "stock", Transactions: 4}, {Inside: `Odd "Schema.a.b: "c"`, Outside: "stock", Transactions: 1}, {Inside: "orders", Outside: "countries", Transactions: 1}}
	if got.o.Transactions != 8 || got.o.Inside != 7 || got.o.Crossing != 5 || !slices.Equal(got.o.Pairs, want) {
		t.Errorf("%+v", got.o)
	}
	m.eventually("no slot is left", func() (bool, string) { // it goes with its session, which ends on its own
		n := ask[int](m, capability.Legacy, `SELECT count(*) FROM pg_replication_slots WHERE database = current_database()`)
		return n == 0, fmt.Sprint(n)
	})
}

func TestObserveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, plain, tables("t"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := m.Observe(ctx, time.Hour)
		done <- err
	}()
	m.eventually("the slot is there", func() (bool, string) {
		return ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())`), ""
	})
	cancel()
	if err := <-done; err == nil {
		t.Error("no error")
	}
}
