package postgres

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
)

// TestWhoIsRefused: a transaction that is rolled back leaves who sent it, how often and
// when; eight writers are kept, and the one that was refused longest ago goes.
func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	app := w.app(capability.Extracted)
	refuse := func(application, statement string) {
		t.Helper()
		if _, err := app.Exec(ctx, fmt.Sprintf(`SET application_name = '%s'`, application)); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Exec(ctx, statement); code(err) != "P0S01" {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	refused := func() capability.Refusals {
		t.Helper()
		r, err := w.Refused(ctx, capability.Extracted)
		w.must(err)
		return r
	}
	if r := refused(); r.Count != 0 || len(r.Writers) != 0 {
		t.Fatalf("before anything: %+v", r)
	}
	began := time.Now().Truncate(time.Second)
	refuse("nightly batch", insert)
	refuse("nightly batch", `BEGIN; INSERT INTO public.orders VALUES (7, ''); COMMIT`)
	if _, err := app.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	refuse("", insert)
	long := "a name that is longer than what is kept of it"
	refuse(long, insert)
	refuse(long, `DO $$ BEGIN INSERT INTO public.orders VALUES (7, ''); EXCEPTION WHEN sqlstate 'P0S02' THEN NULL; END $$`)
	before := refused()
	if want := fmt.Sprintf("%[2]s as %[1]s (2), role %[1]s (1), nightly batch as %[1]s (2)", w.role, long[:28]); before.Count != 5 || !sameWriters(before.String(), want) {
		t.Errorf("%d refused: %s; want %s", before.Count, before, want)
	}
	for _, who := range before.Writers {
		if who.Last.Before(began) || who.Last.After(time.Now()) {
			t.Errorf("%s was refused at %s, and the test began at %s", who.Application, who.Last, began)
		}
	}

	// A statement that catches its refusal goes on, and both are counted.
	refuse("catches", `DO $$ BEGIN BEGIN INSERT INTO public.orders VALUES (7, ''); EXCEPTION WHEN sqlstate 'P0S01' THEN NULL; END; INSERT INTO public.orders VALUES (7, ''); END $$`)
	if r := refused().Since(before); r.Count != 2 || r.String() != fmt.Sprintf("catches as %s (2)", w.role) {
		t.Errorf("since: %d, %s", r.Count, r)
	}

	// Many at once: each is counted, and some of them are named.
	before = refused()
	var several sync.WaitGroup
	for range 4 {
		conn := w.app(capability.Extracted)
		several.Go(func() {
			if _, err := conn.Exec(ctx, `SET application_name = 'crowd'`); err != nil {
				t.Error(err)
			}
			for range 25 {
				if _, err := conn.Exec(ctx, insert); code(err) != "P0S01" {
					t.Error(err)
				}
			}
		})
	}
	several.Wait()
	if r := refused().Since(before); r.Count != 100 || len(r.Writers) != 1 || r.Writers[0].Application != "crowd" || r.Writers[0].Refused > 100 {
		t.Errorf("of a crowd of 100 refusals: %+v", r)
	}

	for i := range 8 {
		refuse(fmt.Sprintf("later %d", i), insert)
	}
	r := refused()
	if len(r.Writers) != 8 || strings.Contains(r.String(), "nightly") {
		t.Errorf("behind eight others: %s", r)
	}
	if n := refused().Since(before).Count; n != 108 {
		t.Errorf("%d in all", n)
	}

	if _, err := app.Exec(ctx, `SELECT strangler.note_refused('orders')`); code(err) != "42501" {
		t.Errorf("anybody may fill the places: %v", err)
	}
	// They go with the gate.
	w.exec(capability.Extracted, `DELETE FROM strangler.gate`)
	var left int
	w.must(w.databases[capability.Extracted].pool.QueryRow(ctx, `SELECT count(*) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'strangler'::regnamespace AND relname LIKE 'refused%'`).Scan(&left))
	if left != 0 {
		t.Errorf("%d sequences are left of a gate that is gone", left)
	}
	if r := refused(); r.Count != 0 {
		t.Errorf("without a gate: %+v", r)
	}
}

// sameWriters compares without regard to the order of those of one second.
func sameWriters(a, b string) bool {
	count := map[string]int{}
	for _, name := range strings.Split(a, ", ") {
		count[name]++
	}
	for _, name := range strings.Split(b, ", ") {
		count[name]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}
