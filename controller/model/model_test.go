package model

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// large says that somebody has the time for wider bounds: half an hour, and some
// gigabytes.
var large = os.Getenv("STRANGLER_MODEL") == "large"

// most is how many states a search may see: far more than it does, and fewer than
// fill a machine.
const most = 60_000_000

// A corner is some of what can happen, at bounds at which everything in it can be
// gone through. All of it at once is gone through at the bounds of the wide corners.
type corner struct {
	name    string
	bounds  Bounds
	without Rule
	wide    bool // only when somebody has the time
	// What is seen on the way, because a model in which nothing happens keeps every
	// promise.
	seen []string
}

var corners = []corner{
	{name: "one controller", bounds: Bounds{Controllers: 1, Writers: 1, Writes: 1, Begin: 1, Direct: true, Errors: true, Crashes: true, Wire: 1}, seen: []string{"a switch that everybody knows of", "a sealing under way", "a writer that has opened the gate"}},
	{name: "two controllers", bounds: Bounds{Controllers: 2, Writers: 1, Writes: 1, Begin: 1, Direct: true, Errors: true, Crashes: true, Wire: 1}, seen: []string{"a switch that everybody knows of", "a leader that does not know that it is none", "a sealing under way"}},
	{name: "two controllers, the gates alone", without: RuleFences, bounds: Bounds{Controllers: 2, Writers: 1, Writes: 1, Begin: 1, Direct: true, Errors: true, Crashes: true}},
	{name: "two controllers and a proxy", bounds: Bounds{Controllers: 2, Proxies: 1, Writers: 1, Writes: 1, Begin: 1, Errors: true, Crashes: true}, seen: []string{"a switch that everybody knows of", "a held write", "a write on its way to a side that owns no more", "a leader that does not know that it is none"}},
	{name: "there and back", bounds: Bounds{Controllers: 1, Writers: 2, Writes: 2, Begin: 4, Direct: true, Snapshots: true, Errors: true, Crashes: true, Wire: 1}, seen: []string{"there and back, with a write at either side", "a switch after one that was taken back", "an old snapshot at a sealed gate", "a writer that has opened the gate"}},
	{name: "crashes that lose commits", bounds: Bounds{Controllers: 1, Writers: 2, Writes: 2, Begin: 3, Direct: true, Async: true, Errors: true, Crashes: true, Wire: 1}, seen: []string{"a commit that a crash takes away", "a switch after one that was taken back"}},
	{name: "failovers", bounds: Bounds{Controllers: 1, Writers: 2, Writes: 2, Begin: 4, Direct: true, Errors: true, Crashes: true, Wire: 1, Failovers: true}, seen: []string{"a stream that begins again"}},
	{name: "two proxies", bounds: Bounds{Controllers: 1, Proxies: 2, Writers: 2, Writes: 2, Begin: 1, Errors: true, Crashes: true, Wire: 1}, seen: []string{"a held write", "two proxies that do not agree", "a write on its way to a side that owns no more"}},

	{name: "two controllers, there and back", wide: true, bounds: Bounds{Controllers: 2, Writers: 1, Writes: 2, Begin: 4, Direct: true, Errors: true, Crashes: true, Wire: 1}},
	{name: "two controllers, the gates alone, with late statements", wide: true, without: RuleFences, bounds: Bounds{Controllers: 2, Writers: 1, Writes: 1, Begin: 3, Direct: true, Errors: true, Crashes: true, Wire: 1}},
	{name: "two controllers and old snapshots", wide: true, bounds: Bounds{Controllers: 2, Writers: 2, Writes: 2, Begin: 1, Direct: true, Snapshots: true, Errors: true, Crashes: true, Wire: 1}},
	{name: "two controllers and failovers", wide: true, bounds: Bounds{Controllers: 2, Writers: 1, Writes: 1, Begin: 1, Direct: true, Errors: true, Crashes: true, Wire: 2, Failovers: true}},
	{name: "three writers", wide: true, bounds: Bounds{Controllers: 1, Writers: 3, Writes: 3, Begin: 4, Direct: true, Snapshots: true, Async: true, Errors: true, Crashes: true, Wire: 2}},
	{name: "proxies, there and back", wide: true, bounds: Bounds{Controllers: 1, Proxies: 2, Writers: 2, Writes: 2, Begin: 4, Errors: true, Crashes: true, Wire: 1}},
	{name: "proxies and whoever goes past them", wide: true, bounds: Bounds{Controllers: 1, Proxies: 2, Writers: 2, Writes: 2, Begin: 1, Direct: true, Snapshots: true, Errors: true, Crashes: true, Wire: 1, Failovers: true}},
	{name: "everything", wide: true, bounds: Bounds{Controllers: 2, Proxies: 2, Writers: 2, Writes: 2, Begin: 1, Errors: true, Crashes: true, Wire: 1}},
}

// sights are what is to be seen.
var sights = map[string]func(m *Model, s *state) bool{
	"a switch that everybody knows of": func(m *Model, s *state) bool { return m.settled(s) && s.store.owner == extracted },
	"there and back, with a write at either side": func(m *Model, s *state) bool {
		return m.settled(s) && s.store.owner == legacy && s.db[legacy].epoch >= 7 && s.owed&s.origin != 0 && s.owed&^s.origin != 0
	},
	"a switch after one that was taken back": func(m *Model, s *state) bool {
		return m.settled(s) && s.store.owner == extracted && s.db[extracted].epoch >= 6
	},
	"a writer that has opened the gate": func(_ *Model, s *state) bool { return s.reopening(legacy) && s.db[legacy].state == closing },
	"an old snapshot at a sealed gate": func(_ *Model, s *state) bool {
		return s.db[legacy].state == sealed && slices.ContainsFunc(s.writer[:], func(w writer) bool { return w.mode == begun && w.at == legacy && w.snapshot == open && !w.fresh })
	},
	"a sealing under way": func(_ *Model, s *state) bool { return s.wire[0].kind == seal && s.db[legacy].state == closing },
	"a held write":        func(_ *Model, s *state) bool { return s.writer[0].mode == held || s.writer[1].mode == held },
	"a write on its way to a side that owns no more": func(_ *Model, s *state) bool {
		return slices.ContainsFunc(s.writer[:], func(w writer) bool { return w.mode == sent && s.db[w.at].state == sealed })
	},
	"a leader that does not know that it is none": func(_ *Model, s *state) bool {
		return s.leader == 1 && s.ctl[1].at == sealGate || s.leader == 2 && s.ctl[0].at == sealGate
	},
	"a commit that a crash takes away": func(_ *Model, s *state) bool { return s.writes > 0 && s.made[s.db[legacy].value]&bit(1) == 0 },
	"a stream that begins again": func(_ *Model, s *state) bool {
		return s.db[extracted].strange && s.db[extracted].applied == 0 && s.owed != 0
	},
	"two proxies that do not agree": func(_ *Model, s *state) bool { return s.proxy[0].owner != s.proxy[1].owner },
}

// TestThePromisesAreKept goes through everything that can happen in each corner.
func TestThePromisesAreKept(t *testing.T) {
	t.Parallel()
	for _, c := range corners {
		if c.wide != large || racing && c.name != corners[0].name {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := New(c.bounds, c.without)
			unseen := slices.Clone(c.seen)
			r := m.search(most, func(s *state) {
				unseen = slices.DeleteFunc(unseen, func(what string) bool { return sights[what](m, s) })
			})
			if r.Story != nil {
				t.Fatalf("\n%s", r.Story)
			}
			if !r.Whole || len(unseen) > 0 {
				t.Errorf("%d states were seen; never: %s", r.States, strings.Join(unseen, "; "))
			}
			t.Logf("%d states, %d steps between them, the farthest %d steps away; %s", r.States, r.Steps, r.Depth, r.Took)
		})
	}
}
