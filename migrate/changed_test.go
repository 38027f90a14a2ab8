package migrate

import (
	"reflect"
	"strings"
	"testing"
)

func TestChangedKeepsWhatIsNotVerified(t *testing.T) {
	t.Parallel()
	c := newChanged()
	if !c.Overflowed() {
		t.Error("a new set claims to be complete")
	}
	c.Return([]Key{{1, []string{"lost"}}})
	if c.Len() != 0 {
		t.Error("an overflowed set keeps keys")
	}
	c.Reset()
	keys := []Key{{0, []string{"a"}}, {0, []string{"a", ""}}, {0, []string{"", "a"}}, {1, []string{"a"}}, {300, []string{strings.Repeat("x", 500), "\x00ü"}}}
	c.Return(keys)
	c.Return(keys[:2])
	if c.Len() != len(keys) || c.Overflowed() {
		t.Errorf("%d of %d keys", c.Len(), len(keys))
	}
	taken := c.Take(2)
	taken = append(taken, c.Take(100)...)
	if c.Len() != 0 || len(taken) != len(keys) {
		t.Errorf("took %d, left %d", len(taken), c.Len())
	}
	for _, want := range keys {
		found := 0
		for _, got := range taken {
			if reflect.DeepEqual(got, want) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%v came back %d times", want, found)
		}
	}
	c.Return(keys)
	c.Overflow()
	if c.Len() != 0 || !c.Overflowed() {
		t.Error("overflow keeps keys")
	}
}

func TestChangedIsBounded(t *testing.T) {
	t.Parallel()
	c := newChanged()
	c.Reset()
	packed := make([]string, changedCap+1)
	for i := range packed {
		packed[i] = Key{i, nil}.pack()
	}
	c.add(packed[:changedCap])
	if c.Overflowed() {
		t.Error("overflowed within its bound")
	}
	c.add(packed[changedCap:])
	if !c.Overflowed() || c.Len() != 0 {
		t.Error("not overflowed beyond its bound")
	}
}

func FuzzKey(f *testing.F) {
	f.Add(3, "a", "")
	f.Fuzz(func(t *testing.T, table int, a, b string) {
		if table < 0 {
			return
		}
		want := Key{table, []string{a, b}}
		if got := unpack(want.pack()); !reflect.DeepEqual(got, want) {
			t.Errorf("%v became %v", want, got)
		}
		if want.pack() != packKey(table, [][]byte{[]byte(a), []byte(b)}) {
			t.Error("the two packings differ")
		}
	})
}
