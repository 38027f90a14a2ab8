package config

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
)

func pointer[T any](v T) *T { return &v }

var (
	extractedEdit = capability.Edit{Owner: pointer(capability.Extracted)}
	quarter       = capability.Edit{Weight: pointer(capability.Weight(2500))}
	fifth         = capability.Edit{Mirror: pointer(capability.Weight(2000))}
	running       = capability.Edit{State: pointer(capability.DataRunning)}
)

// Each row shows the text around the edit, before and after.
func TestApply(t *testing.T) {
	for _, row := range []struct {
		name          string
		edit          capability.Edit
		before, after string
	}{
		{"value and comment", quarter, "traffic:\n  weight:   0%   # share\n", "traffic:\n  weight:   25%   # share\n"},
		{"in braces", quarter, "traffic: {weight: 0%, owner: legacy}\n", "traffic: {weight: 25%, owner: legacy}\n"},
		{"single quotes", quarter, "traffic: {weight: '0%'}\n", "traffic: {weight: '25%'}\n"},
		{"double quotes", extractedEdit, "traffic: {\"owner\":\"legacy\"}\n", "traffic: {\"owner\":\"extracted\"}\n"},
		{"no last break", extractedEdit, "traffic:\n  owner: legacy", "traffic:\n  owner: extracted"},
		{"other line breaks", quarter, "traffic:\r\n  owner: legacy # é ü\r\n", "traffic:\r\n  owner: legacy # é ü\r\n  weight: 25%\r\n"},
		{"on the next line", quarter, "traffic:\n  weight:\n    0%\n", "traffic:\n  weight:\n    25%\n"},
		{"after its sibling", fifth, "traffic:\n  owner: legacy # who\n  weight: 5%  # how many\n  # below\n  subject: address\n",
			"traffic:\n  owner: legacy # who\n  weight: 5%  # how many\n  mirror: 20%\n  # below\n  subject: address\n"},
		{"first of its section", quarter, "traffic: # routing\n    # who is who\n    subject: address\n", "traffic: # routing\n    weight: 25%\n    # who is who\n    subject: address\n"},
		{"after its sibling in braces", quarter, "traffic: { owner: legacy , subject: address}\n", "traffic: { owner: legacy, weight: 25% , subject: address}\n"},
		{"first in braces", quarter, "traffic: {subject: address}\n", "traffic: {weight: 25%, subject: address}\n"},
		{"empty braces", quarter, "traffic: {}\n", "traffic: {weight: 25%}\n"},
		{"no section", quarter, "# the end\n", "# the end\ntraffic:\n  weight: 25%\n"},
		{"no section, no last break", quarter, "# the end", "# the end\ntraffic:\n  weight: 25%\n"},
		{"says so already", quarter, "traffic: {weight: 25.00%}\n", "traffic: {weight: 25.00%}\n"},
		{"mends what is wrong", quarter, "traffic: {weight: auto}\n", "traffic: {weight: 25%}\n"},
		{"data", running, "data: {state: stopped, database: '${X}', tables: [{table: a}]}\n", "data: {state: running, database: '${X}', tables: [{table: a}]}\n"},
		{"data's first", running, "data:\n  # of the service\n  database: ${X}\n", "data:\n  state: running\n  # of the service\n  database: ${X}\n"},
		{"all at once", capability.Edit{Owner: extractedEdit.Owner, Weight: quarter.Weight, Mirror: fifth.Mirror},
			"resilience: {retries: 0}\n", "resilience: {retries: 0}\ntraffic:\n  owner: extracted\n  weight: 25%\n  mirror: 20%\n"},
		{"nothing", capability.Edit{}, "traffic: {weight: 25%}\n", "traffic: {weight: 25%}\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			head := "# é: a comment at the top\n" + smallest + "\n"
			got, err := Apply([]byte(head+row.before), row.edit)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != head+row.after {
				t.Errorf("got\n%s\nwant\n%s", strings.TrimPrefix(string(got), head), row.after)
			}
		})
	}
}

func TestApplyJSON(t *testing.T) {
	got, err := Apply([]byte(`{"capability": "orders"}`), quarter)
	if err != nil || string(got) != `{traffic: {weight: 25%}, "capability": "orders"}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestApplyRefuses(t *testing.T) {
	for _, row := range []struct {
		name, content string
		edit          capability.Edit
	}{
		{"no YAML", "a: [", quarter},
		{"a value given twice", "traffic: {weight: 1%, weight: 2%}\n", quarter},
		{"an alias", "a: &x {weight: 1%}\ntraffic: *x\n", quarter},
		{"no section", "traffic: 5%\n", quarter},
		{"no data", smallest, running},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, err := Apply([]byte(row.content), row.edit); err == nil {
				t.Errorf("edited to %s", got)
			}
		})
	}
	if _, err := Apply([]byte("traffic: 5%\n"), quarter); !errors.Is(err, ErrNotEditable) {
		t.Errorf("got %v", err)
	}
}

// A shipped document keeps every byte but those of the value.
func TestApplyShipped(t *testing.T) {
	content := shipped(t)["orders.yaml"]
	got, err := Apply(content, capability.Edit{Owner: extractedEdit.Owner, State: running.State})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(string(content), "owner: legacy", "owner: extracted", 1)
	if want = strings.Replace(want, "state: stopped", "state: running", 1); string(got) != want {
		t.Errorf("got\n%s", got)
	}
}

var seeds = []string{
	smallest, smallest + "traffic: {weight: 1%}\n", smallest + "traffic:\n  owner: legacy # x\n  weight: '5%'\n",
	smallest + "data: {database: postgres://h/d, tables: [{table: a, columns: {x: y}}], state: paused}\n",
	smallest + "traffic: {}\n...\n", "--- \n" + smallest, "%YAML 1.1\n---\n" + smallest, "{" + strings.ReplaceAll(strings.TrimSpace(smallest), "\n", ", ") + "}",
	"  capability: orders\n  routes: [{path: /a}]\n  extracted: {consul: o}\n", "a: [", "? a\n: b\n", "a: &b c\nd: *b\n", "- \xC3\xA9: '\n'\n",
}

// Whatever is read, the decoder says what is wrong without falling over, and
// says the same twice.
func FuzzDocument(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, problems := document("f.yaml", content, environment)
		again, problemsAgain := document("f.yaml", content, environment)
		if !reflect.DeepEqual(d, again) || !slices.Equal(problems, problemsAgain) {
			t.Error("two readings differ")
		}
		for _, p := range problems {
			if p.Message == "" || p.File != "f.yaml" || p.Line > strings.Count(string(content), "\n")+1 {
				t.Errorf("problem %+v", p)
			}
		}
		if len(problems) == 0 && (d.Name == "" || len(d.Routes) == 0 || len(d.Extracted.Endpoints) == 0 == (d.Extracted.Consul == "")) {
			t.Errorf("accepted %+v", d)
		}
	})
}

// What Apply returns decodes to the edit and nothing else; and it edits every
// document that decodes.
func FuzzApply(f *testing.F) {
	for i, seed := range seeds {
		f.Add([]byte(seed), uint16(i*997), byte(i))
	}
	f.Fuzz(func(t *testing.T, content []byte, weight uint16, which byte) {
		edit := anyEdit(weight, which)
		before, problems := document("f.yaml", content, environment)
		if before.Data == nil {
			edit.State = nil
		}
		after, err := Apply(content, edit)
		if err != nil {
			if len(problems) == 0 {
				t.Fatalf("a good document is refused: %v", err)
			}
			return
		}
		if len(problems) > 0 {
			return
		}
		got, problems := document("f.yaml", after, environment)
		if len(problems) > 0 {
			t.Fatalf("became broken: %v\n%s", problems, after)
		}
		wanted := demanded(before, edit)
		if !reflect.DeepEqual(unplaced(got), unplaced(wanted)) {
			t.Fatalf("got %+v\nwant %+v", got, wanted)
		}
		if again, err := Apply(after, edit); err != nil || string(again) != string(after) {
			t.Fatalf("a second time it changes: %v\n%s", err, again)
		}
	})
}

func anyEdit(weight uint16, which byte) capability.Edit {
	var edit capability.Edit
	w := capability.Weight(int(weight) % (int(capability.Whole) + 1))
	if which&1 != 0 {
		edit.Owner = pointer(capability.Sides[which>>4&1])
	}
	if which&2 != 0 {
		edit.Weight = &w
	}
	if which&4 != 0 {
		edit.Mirror = pointer(capability.Whole - w)
	}
	if which&8 != 0 {
		edit.State = pointer([]capability.DataState{capability.DataStopped, capability.DataPaused, capability.DataRunning}[which>>5%3])
	}
	return edit
}

func demanded(d capability.Document, edit capability.Edit) capability.Document {
	d = d.Clone()
	if edit.Owner != nil {
		d.Traffic.Owner = *edit.Owner
	}
	if edit.Weight != nil {
		d.Traffic.Weight = *edit.Weight
	}
	if edit.Mirror != nil {
		d.Traffic.Mirror = *edit.Mirror
	}
	if edit.State != nil {
		d.Data.State = *edit.State
	}
	return d
}

// unplaced is the document without what moves when a line is added.
func unplaced(d capability.Document) capability.Document {
	d = d.Clone()
	d.Revision = ""
	for i := range d.Routes {
		d.Routes[i].Line = 0
	}
	if d.Data != nil {
		d.Data.TableLine = 0
		for i := range d.Data.Tables {
			d.Data.Tables[i].Line = 0
			d.Data.Tables[i].Columns = maps.Clone(d.Data.Tables[i].Columns)
		}
		for i := range d.Data.Border {
			d.Data.Border[i].Line = 0
		}
	}
	return d
}
