package check

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"testbed"
)

// owned are the moved tables; LINES and PRICE are what the two sides call differently.
const owned = `
create table carts (customer_id bigint primary key, updated_at timestamptz not null);
create table cart_lines (customer_id bigint, product_id bigint, quantity int not null, primary key (customer_id, product_id));
create table orders (id bigint primary key, customer_id bigint not null, status text not null, total_cents bigint not null,
	note text not null default '', ref text not null default '', revision bigint not null default 0,
	created_at timestamptz not null default '2026-01-01', updated_at timestamptz not null default '2026-01-01');
create table LINES (order_id bigint, line int, product_id bigint not null, quantity int not null, PRICE bigint not null, primary key (order_id, line));
create table order_stats (customer_id bigint primary key, writes bigint not null, last_ref text not null);
create table order_log (id bigint primary key, customer_id bigint not null, order_id bigint, kind text not null, ref text not null, at timestamptz not null default '2026-01-01');`

const kept = `
create table stock (product_id bigint primary key, quantity bigint not null);
create table payments (id bigserial primary key, order_id bigint not null, customer_id bigint not null, amount_cents bigint not null, status text not null);
insert into stock values (1, 100), (2, 100);`

// past is what was there before the run: customer 1 has ordered three of product 1.
const past = `
insert into carts values (1, '2026-01-01');
insert into orders (id, customer_id, status, total_cents) values (1, 1, 'confirmed', 300);
insert into LINES values (1, 1, 1, 3, 100);
insert into order_stats values (1, 1, '');
insert into order_log values (1, 1, 1, 'checkout', '');`

// present is what the run did: a cart, an order of two of product 2, one that was cancelled, one that was refused.
const present = `
insert into cart_lines values (1, 2, 5);
insert into orders (id, customer_id, status, total_cents, ref) values (2, 1, 'confirmed', 200, 'r-2'), (3, 1, 'cancelled', 100, 'r-3'), (4, 1, 'refused', 100, 'r-5');
insert into LINES values (2, 1, 2, 2, 100), (3, 1, 1, 1, 100), (4, 1, 1, 1, 100);
update order_stats set writes = 5, last_ref = 'r-4' where customer_id = 1;
insert into order_log values (2, 1, null, 'cart', 'r-1'), (3, 1, 2, 'checkout', 'r-2'), (4, 1, 3, 'checkout', 'r-3'), (5, 1, 3, 'cancel', 'r-4');`

const paid = `insert into payments (order_id, customer_id, amount_cents, status) values (1, 1, 300, 'charged')`

const paidSince = `insert into payments (order_id, customer_id, amount_cents, status) values (2, 1, 200, 'charged'), (3, 1, 100, 'refunded');
update stock set quantity = 98 where product_id = 2`

// written is what the load knows of it.
var written = Written{
	Acknowledged: []Write{{"r-1", 1}, {"r-2", 1}, {"r-3", 1}, {"r-4", 1}},
	Before:       map[int64]int64{1: 1},
}

var (
	asLegacy    = strings.NewReplacer("LINES", "order_lines", "PRICE", "unit_price_cents")
	asExtracted = strings.NewReplacer("LINES", "items", "PRICE", "price_cents")
)

type world struct {
	t                 *testing.T
	databases         *Databases
	base              Baseline
	legacy, extracted *pgx.Conn
}

// open makes both sides as they were before the run, takes the baseline, and makes them as they must be after it.
func open(t *testing.T) *world {
	t.Helper()
	legacy, extracted := testbed.Database(t), testbed.Other(t)
	w := &world{t: t, legacy: dial(t, legacy), extracted: dial(t, extracted)}
	var err error
	if w.databases, err = Open(t.Context(), legacy, extracted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.databases.Close)
	w.onLegacy(owned + kept + past + paid)
	w.onExtracted(owned + past)
	if w.base, err = w.databases.Baseline(t.Context(), Legacy); err != nil {
		t.Fatal(err)
	}
	w.onLegacy(present + paidSince)
	w.onExtracted(present)
	return w
}

func dial(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (w *world) onLegacy(sql string)    { w.exec(w.legacy, asLegacy.Replace(sql)) }
func (w *world) onExtracted(sql string) { w.exec(w.extracted, asExtracted.Replace(sql)) }
func (w *world) onBoth(sql string)      { w.onLegacy(sql); w.onExtracted(sql) }

func (w *world) exec(conn *pgx.Conn, sql string) {
	w.t.Helper()
	if _, err := conn.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) check(written Written, owner Side) Findings {
	w.t.Helper()
	found, err := w.databases.Check(w.t.Context(), w.base, written, owner)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// counts are findings without words, to be compared.
func counts(f Findings) [6]int64 {
	return [6]int64{f.LostWrites, f.DuplicatedWrites, f.ForkedRows, f.StockDrift, f.UnpairedPayments, f.PendingOrders}
}

func TestNothingWrong(t *testing.T) {
	t.Parallel()
	w := open(t)
	for _, owner := range []Side{Legacy, Extracted} {
		if found := w.check(written, owner); !found.Clean() || len(found.Examples) > 0 {
			t.Errorf("with %s as owner: %+v", owner, found)
		}
	}
}

// Every fault that is planted is found, counted by how much, and by nothing else than what it is.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		plant func(w *world)
		want  [6]int64 // lost, duplicated, forked, drift, unpaired, pending
	}{
		{"an acknowledged write is not in the log", func(w *world) {
			w.onBoth(`delete from order_log where ref = 'r-1'`)
		}, [6]int64{1, 0, 0, 0, 0, 0}},
		{"an acknowledged write left no trace at all", func(w *world) {
			w.onBoth(`delete from order_log where ref = 'r-1'; update order_stats set writes = writes - 1`)
		}, [6]int64{1, 1, 0, 0, 0, 0}},
		{"a write is in the log twice", func(w *world) {
			w.onBoth(`insert into order_log values (9, 1, null, 'cart', 'r-1')`)
		}, [6]int64{0, 1, 0, 0, 0, 0}},
		{"the counter counted a write twice", func(w *world) {
			w.onBoth(`update order_stats set writes = writes + 2`)
		}, [6]int64{0, 2, 0, 0, 0, 0}},
		{"the counter is gone", func(w *world) { w.onBoth(`delete from order_stats`) }, [6]int64{0, 5, 0, 0, 0, 0}},
		{"a row differs", func(w *world) { w.onLegacy(`update orders set note = 'x' where id = 2`) }, [6]int64{0, 0, 1, 0, 0, 0}},
		{"a time differs by a microsecond", func(w *world) {
			w.onLegacy(`update carts set updated_at = updated_at + interval '1 microsecond'`)
		}, [6]int64{0, 0, 1, 0, 0, 0}},
		{"a null and an empty text differ", func(w *world) {
			w.onLegacy(`update order_log set order_id = 0 where ref = 'r-1'`)
		}, [6]int64{0, 0, 1, 0, 0, 0}},
		{"a renamed column differs", func(w *world) { w.onLegacy(`update LINES set PRICE = 101 where order_id = 4`) }, [6]int64{0, 0, 1, 0, 0, 0}},
		{"rows in legacy only, at both ends", func(w *world) {
			w.onLegacy(`insert into cart_lines values (0, 1, 1), (2, 1, 1)`)
		}, [6]int64{0, 0, 2, 0, 0, 0}},
		{"rows in extracted only", func(w *world) {
			w.onExtracted(`insert into cart_lines values (0, 1, 1), (1, 1, 1), (2, 1, 1)`)
		}, [6]int64{0, 0, 3, 0, 0, 0}},
		{"one row each that the other has not", func(w *world) {
			w.onLegacy(`insert into cart_lines values (1, 1, 1)`)
			w.onExtracted(`insert into cart_lines values (1, 3, 1)`)
		}, [6]int64{0, 0, 2, 0, 0, 0}},
		{"a side is empty", func(w *world) { w.onLegacy(`truncate order_log`) }, [6]int64{0, 0, 5, 0, 0, 0}},
		{"stock was taken twice", func(w *world) {
			w.onLegacy(`update stock set quantity = quantity - 2 where product_id = 2`)
		}, [6]int64{0, 0, 0, 2, 0, 0}},
		{"stock was not taken, and another product's was", func(w *world) {
			w.onLegacy(`update stock set quantity = quantity + 2 where product_id = 2; update stock set quantity = quantity - 2 where product_id = 1`)
		}, [6]int64{0, 0, 0, 4, 0, 0}},
		{"stock from nowhere", func(w *world) { w.onLegacy(`insert into stock values (3, 7), (4, 0)`) }, [6]int64{0, 0, 0, 7, 0, 0}},
		{"a confirmed order is not charged", func(w *world) { w.onLegacy(`delete from payments where order_id = 2`) }, [6]int64{0, 0, 0, 0, 1, 0}},
		{"a confirmed order is charged twice", func(w *world) {
			w.onLegacy(`insert into payments (order_id, customer_id, amount_cents, status) values (2, 1, 200, 'charged')`)
		}, [6]int64{0, 0, 0, 0, 1, 0}},
		{"a confirmed order is charged another amount", func(w *world) {
			w.onLegacy(`update payments set amount_cents = 1 where order_id = 2`)
		}, [6]int64{0, 0, 0, 0, 1, 0}},
		{"a confirmed order was refunded", func(w *world) {
			w.onLegacy(`update payments set status = 'refunded' where order_id = 1`)
		}, [6]int64{0, 0, 0, 0, 1, 0}},
		{"a cancelled and a refused order, and one that never was, are charged", func(w *world) {
			w.onLegacy(`update payments set status = 'charged' where order_id = 3;
				insert into payments (order_id, customer_id, amount_cents, status) values (4, 1, 100, 'charged'), (77, 1, 1, 'charged')`)
		}, [6]int64{0, 0, 0, 0, 3, 0}},
		{"an order is still pending", func(w *world) {
			w.onBoth(`update orders set status = 'pending' where id = 4`)
		}, [6]int64{0, 0, 0, 0, 0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			test.plant(w)
			found := w.check(written, Extracted)
			if counts(found) != test.want || len(found.Examples) == 0 {
				t.Errorf("lost, duplicated, forked, drift, unpaired, pending: %v, want %v\n%s",
					counts(found), test.want, strings.Join(found.Examples, "\n"))
			}
		})
	}
}

// A write that failed may have happened: then it counts, once.
func TestUnknownWrites(t *testing.T) {
	t.Parallel()
	w := open(t)
	happened := written
	happened.Acknowledged = written.Acknowledged[:3]
	happened.Unknown = []Write{{"r-4", 1}, {"r-never", 1}}
	if found := w.check(happened, Extracted); !found.Clean() {
		t.Errorf("%+v", found)
	}
	w.onBoth(`update order_stats set writes = writes + 1`)
	if found := w.check(happened, Extracted); counts(found) != [6]int64{0, 1, 0, 0, 0, 0} {
		t.Errorf("%+v", found)
	}
}

// Settle waits for what is still on its way, and not for ever.
func TestSettle(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.onLegacy(`delete from order_log where ref = 'r-4'`)
	late := make(chan error, 1)
	ctx := t.Context()
	go func() {
		_, err := w.legacy.Exec(ctx, `insert into order_log values (5, 1, 3, 'cancel', 'r-4')`)
		late <- err
	}()
	found, err := w.databases.Settle(ctx, w.base, written, Extracted, time.Minute)
	if err != nil || !found.Clean() {
		t.Errorf("%+v, %v", found, err)
	}
	if err := <-late; err != nil {
		t.Fatal(err)
	}
	w.onLegacy(`delete from order_log where ref = 'r-4'`)
	if found, err := w.databases.Settle(ctx, w.base, written, Extracted, 0); err != nil || found.ForkedRows != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}
