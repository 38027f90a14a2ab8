package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"strangler/capability"
)

// TestASwitchTypedTwice is one switch: the second one, at the same time or afterwards, is
// told that it is so, and changes nothing.
func TestASwitchTypedTwice(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "twice")
	for _, way := range []struct {
		verb string
		to   capability.Side
	}{{"cutover", capability.Extracted}, {"rollback", capability.Legacy}} {
		const clients = 3
		outs, statuses := [clients]string{}, [clients]int{}
		var typing sync.WaitGroup
		for i := range clients {
			typing.Go(func() { outs[i], statuses[i] = h.try(way.verb, "twice") })
		}
		typing.Wait()
		done := 0
		for i, out := range outs {
			switch {
			case statuses[i] != 0:
				t.Errorf("%s ended with %d:\n%s", way.verb, statuses[i], out)
			case strings.Contains(out, "done: twice is owned by "+string(way.to)):
				done++
			case !strings.Contains(out, "twice is owned by "+string(way.to)+" already"):
				t.Errorf("%s says:\n%s", way.verb, out)
			}
		}
		if done != 1 {
			t.Errorf("%d switches for %d %ss", done, clients, way.verb)
		}
		before, ledger := h.status(), h.types("log", "twice")
		content, err := os.ReadFile(filepath.Join(h.dir, "routes", "twice.yaml"))
		h.must(err)
		if out := h.types(way.verb, "twice"); out != "twice is owned by "+string(way.to)+" already\n" {
			t.Errorf("%s says:\n%s", way.verb, out)
		}
		if out := h.types(way.verb, "twice", "--json"); !strings.Contains(out, `"already": true`) {
			t.Errorf("%s --json says:\n%s", way.verb, out)
		}
		if out := h.types(way.verb, "twice", "--dry-run"); !strings.Contains(out, "nothing: "+string(way.to)+" owns twice already") {
			t.Errorf("%s --dry-run says:\n%s", way.verb, out)
		}
		after := h.status()
		for _, side := range capability.Sides {
			if after.Data.Gates[side] != before.Data.Gates[side] {
				t.Errorf("the %s gate was %+v and is %+v", side, before.Data.Gates[side], after.Data.Gates[side])
			}
		}
		if after.Effective.Epoch != before.Effective.Epoch || after.Effective.Owner != way.to {
			t.Errorf("effective was %+v and is %+v", before.Effective, after.Effective)
		}
		if now := h.types("log", "twice"); now != ledger {
			t.Errorf("the ledger has what nothing was done for:\n%s", now)
		}
		if now, err := os.ReadFile(filepath.Join(h.dir, "routes", "twice.yaml")); err != nil || string(now) != string(content) {
			t.Errorf("the document was edited: %v\n%s", err, now)
		}
	}
}
