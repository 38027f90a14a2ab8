package migrate

import (
	"strings"
	"testing"

	"strangler/capability"
)

// TestWhatIsSaidOfAlteredTables, where no database is needed to know it.
func TestWhatIsSaidOfAlteredTables(t *testing.T) {
	t.Parallel()
	table := func(id uint32, text string) Table {
		table := formed(text)
		table.Relation, table.Kind, table.ID, table.Key = Relation{"public", "things"}, "r", id, []string{"id"}
		table.Candidates = []Candidate{{Index: "things_pkey", Columns: []string{"id"}, Primary: true}}
		for i := range table.Columns {
			table.Columns[i].NotNull = table.Columns[i].Name == "must"
		}
		return table
	}
	pair := func(doc capability.Table, legacy, extracted Table) (Pair, []capability.Problem) {
		doc.Mode = mode(doc)
		return NewPair(doc, legacy, extracted)
	}
	for _, test := range []struct {
		name                    string
		was                     map[string]string // the document's columns
		is                      map[string]string
		legacy, extracted       string // before
		nowLegacy, nowExtracted string
		waits, ends, lost       string
		different               bool
		mode                    capability.TableMode
		legacyID                uint32
	}{
		{name: "nothing", legacy: "1:id 2:a", extracted: "1:id 2:a", nowLegacy: "1:id 2:a", nowExtracted: "1:id 2:a"},
		{name: "a mapped name", was: map[string]string{"a": "z"}, is: map[string]string{"a": "z"}, legacy: "1:id 2:a", extracted: "1:id 2:z", nowLegacy: "1:id 2:b", nowExtracted: "1:id 2:z",
			waits: "column a renamed to b on the legacy side; write `columns: {b: z}`"},
		{name: "and the document follows", was: map[string]string{"a": "z"}, is: map[string]string{"b": "z"}, legacy: "1:id 2:a", extracted: "1:id 2:z", nowLegacy: "1:id 2:b", nowExtracted: "1:id 2:z", different: true},
		{name: "must be filled", legacy: "1:id", extracted: "1:id", nowLegacy: "1:id", nowExtracted: "1:id 2:must", waits: "give it a default or drop NOT NULL; then it goes on by itself"},
		{name: "need not be filled", legacy: "1:id", extracted: "1:id", nowLegacy: "1:id", nowExtracted: "1:id 2:may", different: true},
		{name: "comes where another one was", legacy: "1:id", extracted: "1:id 2:may", nowLegacy: "1:id 2:may", nowExtracted: "1:id 2:may", different: true},
		{name: "another mapping", is: map[string]string{"a": "b"}, legacy: "1:id 2:a", extracted: "1:id 2:a 3:b", nowLegacy: "1:id 2:a", nowExtracted: "1:id 2:a 3:b", ends: "column a moves as b now"},
		{name: "another mode", mode: capability.Copy, legacy: "1:id", extracted: "1:id", nowLegacy: "1:id", nowExtracted: "1:id", lost: "its mode"},
		{name: "another table", legacyID: 9, legacy: "1:id", extracted: "1:id", nowLegacy: "1:id", nowExtracted: "1:id", lost: "dropped and made anew"},
	} {
		was, problems := pair(capability.Table{Table: "things", Columns: test.was}, table(1, test.legacy), table(2, test.extracted))
		if len(problems) > 0 {
			t.Fatal(test.name, problems)
		}
		doc := capability.Table{Table: "things", Columns: test.is, Mode: test.mode}
		if test.legacyID == 0 {
			test.legacyID = 1
		}
		legacy, extracted := table(test.legacyID, test.nowLegacy), table(2, test.nowExtracted)
		is, problems := pair(doc, legacy, extracted)
		doc.Mode = mode(doc)
		found := differences(layout{pairs: []Pair{is}, problems: problems, seen: []seen{{doc, legacy, extracted}}}, []Pair{was})
		for what, text := range map[string][2]string{"waits": {strings.Join(found.waits, ""), test.waits}, "ends": {strings.Join(found.ends, ""), test.ends}, "is lost": {strings.Join(found.lost, ""), test.lost}} {
			if got, want := text[0], text[1]; !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("%s: it %s: %q, want %q", test.name, what, got, want)
			}
		}
		if stands := test.waits+test.ends+test.lost == ""; stands && found.different != test.different {
			t.Errorf("%s: different %t", test.name, found.different)
		}
	}
}

// TestValuesArePlacedBesideTheirNeighbours.
func TestValuesArePlacedBesideTheirNeighbours(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ has, lacks, want string }{
		{"a b c", "a b c", ""},
		{"a b c", "a c", "ALTER TYPE mood ADD VALUE 'b' AFTER 'a'"},
		{"a b c", "b", "ALTER TYPE mood ADD VALUE 'a' BEFORE 'b'; ALTER TYPE mood ADD VALUE 'c' AFTER 'b'"},
		{"a b", "", "ALTER TYPE mood ADD VALUE 'a'; ALTER TYPE mood ADD VALUE 'b' AFTER 'a'"},
		{"a b", "a b c", ""},
		{"it's", "x", "ALTER TYPE mood ADD VALUE 'it''s'"},
	} {
		got := strings.Join(addValues(Enum{"mood", strings.Fields(test.has)}, Enum{"mood", strings.Fields(test.lacks)}), "; ")
		if got != test.want {
			t.Errorf("%s and %s: %s", test.has, test.lacks, got)
		}
	}
}
