package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
)

// testdata returns a schema that nobody here wrote; its folder is named by
// $STRANGLER_TESTDATA.
func testdata(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	dir := os.Getenv("STRANGLER_TESTDATA")
	if dir == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("STRANGLER_TESTDATA is not set: in CI it must name the folder of northwind.sql and chinook.sql")
		}
		t.Skip("SKIPPED: STRANGLER_TESTDATA is not set; name the folder of northwind.sql and chinook.sql to move schemas nobody here wrote")
	}
	return filepath.Join(dir, name)
}

// writer changes the moved tables of the side that owns, in transactions of its
// own, and remembers what was acknowledged. The n-th transaction of a writer is
// made by change, which may use n for keys.
type writer struct {
	house  *house
	change func(ctx context.Context, tx pgx.Tx, side capability.Side, n int) error
	number int

	acknowledged tally
	refused      tally
}

// pace is the time between two transactions of a writer: a steady load, which a
// machine that is busy otherwise can follow too.
const pace = 15 * time.Millisecond

// run writes until the context ends. A side whose gate is shut refuses; the
// writer then turns to the other, as a client whose proxy learns of the switch.
func (w *writer) run(ctx context.Context) error {
	side := capability.Legacy
	beat := time.NewTicker(pace)
	defer beat.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		<-beat.C
		err := pgx.BeginFunc(ctx, w.house.pools[side], func(tx pgx.Tx) error { return w.change(ctx, tx, side, n) })
		var pg *pgconn.PgError
		switch {
		case err == nil:
			w.acknowledged.add()
		case ctx.Err() != nil:
		case errors.As(err, &pg) && pg.Code == "P0S01":
			w.refused.add()
			side = side.Other()
		case pg != nil:
			return fmt.Errorf("writer %d, transaction %d on %s: %w: %s, where %s", w.number, n, side, err, pg.Detail, pg.Where)
		default:
			return fmt.Errorf("writer %d, transaction %d on %s: %w", w.number, n, side, err)
		}
	}
	return nil
}

// underWriters runs the script while writers work, stops them, and fails if one
// of them met anything but a refusal by a gate.
func underWriters(t *testing.T, writers []*writer, script func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var once sync.Once
	for _, w := range writers {
		working.Go(func() {
			if err := w.run(ctx); err != nil {
				once.Do(func() { t.Error(err) })
			}
		})
	}
	defer working.Wait()
	defer stop()
	script()
}

// progress waits until every writer has been acknowledged n more times.
func progress(t *testing.T, writers []*writer, n int64) {
	t.Helper()
	goals := make([]int64, len(writers))
	for i, w := range writers {
		goals[i] = w.acknowledged.count() + n
	}
	for i, w := range writers {
		w.acknowledged.reaches(t, goals[i])
	}
}

// rows reads a query's rows as text, in one order on both sides.
func (h *house) rows(side capability.Side, query string) []string {
	h.t.Helper()
	rows, err := h.pools[side].Query(h.t.Context(), query)
	h.must(err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	h.must(err)
	slices.Sort(all)
	return all
}

// same compares the moved tables on both sides, row by row, with queries of its
// own; each side's query gives its rows as text.
func (h *house) same(legacy, extracted string) int {
	h.t.Helper()
	l, e := h.rows(capability.Legacy, legacy), h.rows(capability.Extracted, extracted)
	if !slices.Equal(l, e) {
		h.t.Errorf("%d rows on legacy and %d on extracted, and they differ:\n%s", len(l), len(e), firstDifference(l, e))
	}
	return len(l)
}

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("legacy:    %s\nextracted: %s", at(a, i), at(b, i))
		}
	}
	return ""
}

func at(rows []string, i int) string {
	if i < len(rows) {
		return rows[i]
	}
	return "(nothing)"
}
