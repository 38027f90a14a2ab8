package migrate

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// form writes a table as "1:id 2:a/text", with the number that was given last at
// the end, if columns behind the last one are gone: "… <5".
func formed(text string) Table {
	var t Table
	for word := range strings.FieldsSeq(text) {
		if _, err := fmt.Sscanf(word, "<%d", &t.Last); err == nil {
			continue
		}
		var c Column
		number, rest, _ := strings.Cut(word, ":")
		if _, err := fmt.Sscan(number, &c.Number); err != nil {
			panic(err)
		}
		c.Name, c.Type, _ = strings.Cut(rest, "/")
		c.TypeID = uint32(len(c.Type))
		c.Generated = strings.HasPrefix(c.Name, "generated")
		t.Columns, t.Last = append(t.Columns, c), c.Number
	}
	return t
}

func TestDescriptionsBetweenTwoFormsOfATable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, before, after, told, want string }{
		{"as before", "1:id 2:a 3:b", "1:id 3:b 4:c", "id a b", "1 0 3"},
		{"as after", "1:id 2:a 3:b", "1:id 3:b 4:c", "id b c", "1 3 4"},
		{"dropped, not added yet", "1:id 2:a 3:b", "1:id 3:b 4:c", "id b", "1 3"},
		{"renamed", "1:id 2:a", "1:id 2:z", "id a", "1 2"},
		{"under a name in between", "1:id 2:a", "1:id 2:z", "id x", "1 2"},
		{"exchanged, before", "1:id 2:a 3:b", "1:id 2:b 3:a", "id a b", "1 2 3"},
		{"exchanged, in between", "1:id 2:a 3:b", "1:id 2:b 3:a", "id tmp a", "1 2 3"},
		{"added and dropped in between", "1:id 2:a", "1:id 2:a <3", "id a x", "1 2 0"},
		{"added, dropped and added", "1:id 2:a", "1:id 2:a 4:x", "id a x", "ambiguous"},
		{"the same, of other types", "1:id 2:a", "1:id 2:a 4:x/text", "id a x", "1 2 0"},
		{"another one came and went later", "1:id", "1:id 2:x <3", "id x", "1 2"},
		{"another one has come", "1:id", "1:id 2:x <3", "id x y", "1 2 0"},
		{"dropped before", "1:id 2:a <3", "1:id 2:a 4:x", "id a x", "1 2 4"},
		{"dropped and added", "1:id 2:a", "1:id 3:a", "id a", "ambiguous"},
		{"name of the one, place of the other", "1:id 2:a", "1:id 3:b", "id a", "1 0"},
		{"a type that is the old one", "1:id 2:a/int", "1:id 2:a/text", "id a/int", "1 2"},
		{"a type that nobody knows", "1:id 2:a/int", "1:id 2:a/text", "id a/float8", "ambiguous"},
		{"a column is missing", "1:id 2:a 3:b", "1:id 2:a 3:b", "id a", "ambiguous"},
		{"generated ones are not told", "1:id 2:generated 3:b", "1:id 2:generated 3:b 4:c", "id b", "1 3"},
	} {
		var told []ShapeColumn
		for word := range strings.FieldsSeq(test.told) {
			name, kind, _ := strings.Cut(word, "/")
			told = append(told, ShapeColumn{Name: name, Type: uint32(len(kind))})
		}
		got := "ambiguous"
		if numbers, ok := byOrder(told, formed(test.before), formed(test.after)); ok {
			got = strings.Trim(fmt.Sprint(numbers), "[]")
		}
		if got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}

func TestWidthsBetweenTwoFormsOfATable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, before, after string
		width, count        int
		want                string
	}{
		{"as before", "1:id 2:a 3:b", "1:id 3:b 4:c", 3, 3, "1 0 3"},
		{"dropped", "1:id 2:a 3:b", "1:id 3:b 4:c", 3, 2, "1 3"},
		{"added before it was dropped", "1:id 2:a 3:b", "1:id 3:b 4:c", 4, 4, "1 0 3 4"},
		{"as after", "1:id 2:a 3:b", "1:id 3:b 4:c", 4, 3, "1 3 4"},
		{"added, dropped and added", "1:id", "1:id 3:x", 2, 2, "1 0"},
		{"the second one", "1:id", "1:id 3:x", 3, 2, "1 3"},
		{"two dropped, one of them yet", "1:id 2:a 3:b", "1:id <3", 3, 2, "ambiguous"},
		{"two dropped at once", "1:id 2:a 3:b", "1:id <3", 3, 1, "1"},
		{"wider than it is", "1:id", "1:id", 2, 1, "ambiguous"},
		{"generated ones are written", "1:id 2:generated", "1:id 2:generated 3:c", 2, 2, "1 2"},
		{"an unknown width that can be one only", "1:id 2:a", "1:id 2:a 3:c", 0, 3, "1 2 3"},
		{"an unknown width", "1:id 2:a", "1:id 3:c", 0, 2, "ambiguous"},
	} {
		got := "ambiguous"
		if numbers, ok := byWidth(int16(test.width), test.count, formed(test.before), formed(test.after)); ok {
			got = strings.Trim(fmt.Sprint(numbers), "[]")
		}
		if got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}

// TestWhichFormAChangeIsOf: positions say between which two it was written.
func TestWhichFormAChangeIsOf(t *testing.T) {
	t.Parallel()
	m := Mapping{From: formed("1:id 2:c"), Past: []Past{{formed("1:id 2:a"), 10}, {formed("1:id 2:b"), 20}}}
	for commit, want := range map[capability.Position]string{9: "a b", 10: "b c", 19: "b c", 20: "c c"} {
		before, after, known := m.between(commit)
		if got := before.Columns[1].Name + " " + after.Columns[1].Name; got != want || known != (commit == 20) {
			t.Errorf("at %d: %s, %t", commit, got, known)
		}
	}
}
