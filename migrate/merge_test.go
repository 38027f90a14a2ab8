package migrate

import (
	"errors"
	"fmt"
	"io"
	"slices"
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
			err := compared(test.keyType).merge(strings.NewReader(test.source), strings.NewReader(test.target), func() {},
				func(m capability.Mismatch) { got = append(got, m.Key+" "+m.Detail) })
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
		err := compared("integer").merge(strings.NewReader(whole), half, func() {}, func(capability.Mismatch) {})
		if err == nil {
			t.Errorf("%s: taken for whole", name)
		}
	}
}

func TestMergeReadsLinesLongerThanItsBuffer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	rows, found := 0, 0
	err := compared("integer").merge(strings.NewReader(long+"\t1\n"+long+"\t2\n"), strings.NewReader(long+"\t1\n"+long+"y\t2\n"), func() { rows++ }, func(capability.Mismatch) { found++ })
	if err != nil || rows != 2 || found != 1 {
		t.Errorf("%d rows, %d mismatches, %v", rows, found, err)
	}
}

// FuzzMerge holds the merge against a comparison of two sets.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{1, 3, 4})
	f.Add([]byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		text := func(keys []byte) (string, map[int]bool) {
			sorted := slices.Clone(keys)
			slices.Sort(sorted)
			var lines strings.Builder
			set := map[int]bool{}
			for _, k := range slices.Compact(sorted) {
				fmt.Fprintf(&lines, "v\t%d\n", k)
				set[int(k)] = true
			}
			return lines.String(), set
		}
		source, left := text(a)
		target, right := text(b)
		want := 0
		for k := range 256 {
			if left[k] != right[k] {
				want++
			}
		}
		got := 0
		if err := compared("integer").merge(strings.NewReader(source), strings.NewReader(target), func() {}, func(capability.Mismatch) { got++ }); err != nil || got != want {
			t.Errorf("%d mismatches, want %d, %v", got, want, err)
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
