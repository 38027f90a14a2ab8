package migrate

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"strangler/capability"
)

// compared is a comparison of a table (id of the given type, v text).
func compared(keyType string) comparison {
	t := Table{Relation: Relation{"public", "t"}, Key: []string{"id"}, Columns: []Column{{Name: "v", Type: "text"}, {Name: "id", Type: keyType}}}
	p, _ := NewPair(capability.Table{Table: "t"}, t, t)
	return newComparison(p.Direct(capability.Legacy), capability.Legacy, nil)
}

func TestMergeTellsWhatDiffersAndWhereARowIs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, keyType, source, target string
		want                          []string
	}{
		{"nothing", "integer", "", "", nil},
		{"equal", "integer", "a\t1\nb\t2\n", "a\t1\nb\t2\n", nil},
		{"changed", "integer", "a\t1\nb\t2\n", "a\t1\nc\t2\n", []string{"id=2 column v differs"}},
		{"null is not empty", "integer", "\\N\t1\n", "\t1\n", []string{"id=1 column v differs"}},
		{"missing at the end", "integer", "a\t1\nb\t2\n", "a\t1\n", []string{"id=2 only in legacy"}},
		{"missing at the start", "integer", "a\t1\nb\t2\n", "b\t2\n", []string{"id=1 only in legacy"}},
		{"surplus", "integer", "a\t9\n", "a\t9\nb\t10\n", []string{"id=10 only in extracted"}},
		{"surplus everywhere", "integer", "", "a\t1\nb\t2\n", []string{"id=1 only in extracted", "id=2 only in extracted"}},
		{"numbers are ordered as numbers", "bigint", "a\t-10\na\t9\na\t10\n", "a\t-10\na\t10\n", []string{"id=9 only in legacy"}},
		{"a moved row is two", "integer", "a\t1\n", "a\t2\n", []string{"id=1 only in legacy", "id=2 only in extracted"}},
		{"text is ordered by bytes", "text", "a\tB\na\ta\na\t\xc3\xa4\n", "a\tB\na\t\xc3\xa4\n", []string{"id=" + KeyHash([][]byte{[]byte("a")}) + " only in legacy"}},
		{"escapes are ordered as what they stand for", "text", "x\t\\n\nx\t!\n", "x\t!\n", []string{"id=" + KeyHash([][]byte{[]byte("\n")}) + " only in legacy"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			_, err := compared(test.keyType).merge(strings.NewReader(test.source), strings.NewReader(test.target), func() bool { return true },
				func(row unequal) { got = append(got, row.told.Key+" "+row.told.Detail) })
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// TestMergeNeverTakesHalfATableForAWholeOne: a side that breaks off is an error
// and no list of missing rows.
func TestMergeNeverTakesHalfATableForAWholeOne(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	whole := "a\t1\nb\t2\n"
	for name, half := range map[string]io.Reader{
		"error":         io.MultiReader(strings.NewReader("a\t1\n"), iotest.ErrReader(broken)),
		"error at once": iotest.ErrReader(broken),
		"half a line":   strings.NewReader("a\t1\nb"),
	} {
		_, err := compared("integer").merge(strings.NewReader(whole), half, func() bool { return true }, func(unequal) {})
		if err == nil {
			t.Errorf("%s: taken for whole", name)
		}
	}
}

func TestMergeReadsLinesLongerThanItsBuffer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	rows, found := 0, 0
	_, err := compared("integer").merge(strings.NewReader(long+"\t1\n"+long+"\t2\n"), strings.NewReader(long+"\t1\n"+long+"y\t2\n"), func() bool { rows++; return true }, func(unequal) { found++ })
	if err != nil || rows != 2 || found != 1 {
		t.Errorf("%d rows, %d mismatches, %v", rows, found, err)
	}
}

// FuzzMerge holds the merge against a comparison of two sets, also where it stops
// every few rows and goes on behind the key that it has told.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{1, 3, 4}, byte(1))
	f.Add([]byte{}, []byte{0}, byte(0))
	f.Fuzz(func(t *testing.T, a, b []byte, stop byte) {
		left, right := map[int]bool{}, map[int]bool{}
		for _, k := range a {
			left[int(k)] = true
		}
		for _, k := range b {
			right[int(k)] = true
		}
		lines := func(keys map[int]bool, after int) io.Reader {
			var text strings.Builder
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				if k > after {
					fmt.Fprintf(&text, "v\t%d\n", k)
				}
			}
			return strings.NewReader(text.String())
		}
		want, all := 0, 0
		for k := range 256 {
			if left[k] != right[k] {
				want++
			}
			if left[k] || right[k] {
				all++
			}
		}
		got, rows, after := 0, 0, -1
		for {
			stretch := 0
			last, err := compared("integer").merge(lines(left, after), lines(right, after),
				func() bool { rows++; stretch++; return stop == 0 || stretch < int(stop) }, func(unequal) { got++ })
			if err != nil {
				t.Fatal(err)
			}
			if last == nil {
				break
			}
			if after, err = strconv.Atoi(last[0]); err != nil {
				t.Fatal(err)
			}
		}
		if got != want || rows != all {
			t.Errorf("%d mismatches of %d rows, want %d of %d", got, rows, want, all)
		}
	})
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{``: "", `plain`: "plain", `a\tb\nc\\d\be\ff\rg\vh`: "a\tb\nc\\d\be\ff\rg\vh", `\`: `\`, `\\N`: `\N`} {
		if got := string(unescape([]byte(in))); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}
