package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// TestDoubtsAreDecided: rows that differ when they are read at two moments, by what
// is seen of them from then on. Every one comes to an end.
func TestDoubtsAreDecided(t *testing.T) {
	t.Parallel()
	at := func(version, value string, settled bool) Found {
		return Found{Values: [][]byte{[]byte(value)}, Version: version, Settled: settled}
	}
	always := func(f Found) func(int) Found { return func(int) Found { return f } }
	for name, test := range map[string]struct {
		source, target func(n int) Found // as they are read for the n-th time
		differs        bool
		left           bool // for the changed rows
		within         time.Duration
	}{
		"it was only behind":                    {always(at("2", "b", true)), always(at("9", "b", true)), false, false, 0},
		"it differs, and nobody is changing it": {always(at("2", "b", true)), always(at("9", "a", true)), true, false, 0},
		"it is missing there":                   {always(at("2", "b", true)), always(Found{}), true, false, 0},
		"it is there too much":                  {always(Found{}), always(at("9", "a", true)), true, false, suspectFor + time.Second},
		"it was locked once":                    {always(at("2", "b", false)), always(at("9", "a", true)), true, false, suspectFor + time.Second},
		"a commit waits for a standby, and is seen late": {func(n int) Found {
			if n < 100 {
				return at("2", "a", false)
			}
			return at("3", "b", true)
		}, always(at("9", "b", true)), false, false, suspectFor},
		"commits wait for a standby, one behind the other": {func(n int) Found { return at(fmt.Sprint(n/50), fmt.Sprint(n/50), false) },
			func(n int) Found { return at(fmt.Sprint(n/25), fmt.Sprint(n/25+1), true) }, false, true, restless*suspectFor + time.Second},
		"it is written all the time": {func(n int) Found { return at(fmt.Sprint(n), fmt.Sprint(n), true) },
			func(n int) Found { return at(fmt.Sprint(n), fmt.Sprint("later ", n), true) }, false, true, restless*suspectFor + time.Second},
		"it is written often, and differs all the same": {func(n int) Found { return at(fmt.Sprint((n+1)/2/10), "b", n%20 > 2) },
			func(n int) Found { return at(fmt.Sprint(n), "a", true) }, true, false, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				orders := Table{Relation: Relation{"public", "orders"}, Columns: []Column{{Name: "id", Type: "bigint"}}}
				m := Mapping{Pair: Pair{Legacy: orders}, From: orders, To: orders, FromKey: []string{"id"}, ToKey: []string{"id"}}
				d := &direction{from: capability.Legacy, source: &script{read: test.source}, target: &script{read: test.target}, capture: standstill{}, mappings: []Mapping{m}}
				d.stream = NewStream(StreamOptions{})
				d.stream.Changed().Reset()
				d.recheck = newRecheck(d, capability.Document{Data: &capability.Data{}}, nil)
				v := &verification{mover: &Mover{}}
				c := comparison{mapping: m, names: []string{"note"}, key: keyColumns(m.FromKey, m.From)}
				open := []doubt{{key: []string{"7"}}}
				began := time.Now()
				for len(open) > 0 {
					var err error
					var found verdict
					if open, err = v.decide(t.Context(), d, c, open, &found); err == nil {
						err = v.conclude(d, c, found)
					}
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(recheckEvery) // of the bubble's clock
					if time.Since(began) > time.Hour {
						t.Fatal("it is never decided")
					}
				}
				if took := time.Since(began) - recheckEvery; took > test.within {
					t.Errorf("it took %s, more than %s", took, test.within)
				}
				if (v.status.Count == 1) != test.differs {
					t.Errorf("found %+v", v.status.Mismatches)
				}
				named := slices.ContainsFunc(v.status.Skipped, func(s string) bool { return strings.HasPrefix(s, "orders id=7: ") })
				if changed := d.stream.Changed().Len() == 1; named != test.left || changed != test.left {
					t.Errorf("not compared: %q; among the changed rows: %t", v.status.Skipped, changed)
				}
			})
		})
	}
}

// script is a database of one row.
type script struct {
	Database
	n    int
	read func(n int) Found
}

func (s *script) ByKey(context.Context, Selection, []KeyColumn, [][]string) ([]Found, error) {
	s.n++
	return []Found{s.read(s.n - 1)}, nil
}

// standstill is a capture whose position every stream has passed.
type standstill struct{ Capture }

func (standstill) Position(context.Context) (capability.Position, error) { return 0, nil }

// heap is a table that is read in order.
type heap struct {
	Reader
	lines string
}

func (h heap) Ordered(_ context.Context, w io.Writer, _ Selection, _ []KeyColumn, _ []string, _ func(string)) error {
	_, err := io.WriteString(w, h.lines)
	return err
}

// TestWhatIsNotDecidedDoesNotCount: a comparison that is stopped while it reads rows
// again is gone on with before them, and would count them twice.
func TestWhatIsNotDecidedDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		orders := Table{Relation: Relation{"public", "orders"}, Columns: []Column{{Name: "id", Type: "bigint"}}}
		m := Mapping{Pair: Pair{Legacy: orders}, From: orders, To: orders, FromColumns: []string{"id", "note"}, FromKey: []string{"id"}, ToKey: []string{"id"}}
		differs := Found{Values: [][]byte{[]byte("a")}, Version: "1", Settled: true}
		hot := func(n int) Found { return Found{Values: [][]byte{[]byte("b")}, Version: fmt.Sprint(n)} }
		d := &direction{from: capability.Legacy, capture: standstill{}, mappings: []Mapping{m}, stream: NewStream(StreamOptions{}),
			source: &rows{read: func(key string, n int) Found {
				if key == "7" {
					return differs
				}
				return hot(n)
			}}, target: &rows{read: func(string, int) Found { return Found{Values: [][]byte{[]byte("c")}, Version: "9"} }}}
		d.recheck = newRecheck(d, capability.Document{Data: &capability.Data{}}, nil)
		v := &verification{mover: &Mover{}, following: &following{}}
		c := comparison{mapping: m, names: []string{"id", "note"}, key: keyColumns(m.FromKey, m.From), keyAt: []int{0}}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := v.tableApart(ctx, d, heap{lines: "7\ta\n8\ta\n"}, heap{lines: "7\tb\n8\tb\n"}, c, time.Time{})
		if !errors.Is(err, context.DeadlineExceeded) || v.status.Count != 0 || v.status.Rows != 0 {
			t.Errorf("%v: %+v", err, v.status)
		}
	})
}

// rows is a database of some rows.
type rows struct {
	Database
	n    int
	read func(key string, n int) Found
}

func (r *rows) ByKey(_ context.Context, _ Selection, _ []KeyColumn, keys [][]string) ([]Found, error) {
	r.n++
	list := make([]Found, len(keys))
	for i, key := range keys {
		list[i] = r.read(key[0], r.n)
	}
	return list, nil
}
