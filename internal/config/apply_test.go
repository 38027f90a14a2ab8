package config

import (
	"errors"
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
	forced        = breakers("", capability.BreakerForced)
	both          = breakers(capability.BreakerEnforce, capability.BreakerObserve)
)

// breakers is the edit of the modes that are given.
func breakers(legacy, extracted capability.BreakerMode) capability.Edit {
	edit := capability.Edit{Breakers: map[capability.Side]capability.BreakerMode{}}
	if legacy != "" {
		edit.Breakers[capability.Legacy] = legacy
	}
	if extracted != "" {
		edit.Breakers[capability.Extracted] = extracted
	}
	return edit
}

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
		{"data's end", capability.Edit{State: pointer(capability.DataRetired)}, "data: {state: running, database: '${X}', tables: [{table: a}]}\n", "data: {state: retired, database: '${X}', tables: [{table: a}]}\n"},
		{"data", running, "data: {state: stopped, database: '${X}', tables: [{table: a}]}\n", "data: {state: running, database: '${X}', tables: [{table: a}]}\n"},
		{"data's first", running, "data:\n  # of the service\n  database: ${X}\n", "data:\n  state: running\n  # of the service\n  database: ${X}\n"},
		{"all at once", capability.Edit{Owner: extractedEdit.Owner, Weight: quarter.Weight, Mirror: fifth.Mirror},
			"resilience: {retries: 0}\n", "resilience: {retries: 0}\ntraffic:\n  owner: extracted\n  weight: 25%\n  mirror: 20%\n"},
		{"a breaker's mode", forced, "breakers:\n  # ours\n  extracted: observe   # until Monday\n", "breakers:\n  # ours\n  extracted: open   # until Monday\n"},
		{"a breaker's mode in braces", forced, "breakers: {extracted: enforce, legacy: open}\n", "breakers: {extracted: open, legacy: open}\n"},
		{"a breaker's mode in quotes", forced, "breakers: {'extracted': \"enforce\"}\n", "breakers: {'extracted': \"open\"}\n"},
		{"no breakers", forced, "# the end\n", "# the end\nbreakers:\n  extracted: open\n"},
		{"both breakers in their order", both, "# the end\n", "# the end\nbreakers:\n  legacy: enforce\n  extracted: observe\n"},
		{"legacy before extracted", both, "breakers:\n    # by hand\n    extracted: open # now\n", "breakers:\n    legacy: enforce\n    # by hand\n    extracted: observe # now\n"},
		{"extracted after legacy", both, "breakers:\n  legacy: open # x\n  # end\n", "breakers:\n  legacy: enforce # x\n  extracted: observe\n  # end\n"},
		{"extracted after legacy in braces", both, "breakers: {legacy: enforce}\n", "breakers: {legacy: enforce, extracted: observe}\n"},
		{"empty breakers", both, "breakers: {}\n", "breakers: {legacy: enforce, extracted: observe}\n"},
		{"breakers say so already", both, "breakers: {extracted: 'observe', legacy: enforce}\n", "breakers: {extracted: 'observe', legacy: enforce}\n"},
		{"breakers and traffic", capability.Edit{Weight: quarter.Weight, Breakers: both.Breakers}, "traffic: {weight: 0%}\n",
			"traffic: {weight: 25%}\nbreakers:\n  legacy: enforce\n  extracted: observe\n"},
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
		{"no breakers", "breakers: open\n", forced},
		{"no mode", smallest, breakers("closed", "")},
		{"an empty mode", smallest, capability.Edit{Breakers: map[capability.Side]capability.BreakerMode{capability.Legacy: ""}}},
		{"no side", smallest, capability.Edit{Breakers: map[capability.Side]capability.BreakerMode{"monolith": capability.BreakerForced}}},
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
