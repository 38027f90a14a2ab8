package consul

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

func pair(key, value string) *api.KVPair { return &api.KVPair{Key: key, Value: []byte(value)} }

func TestPublish(t *testing.T) {
	s := newStore(t)
	if states, err := s.Effective(t.Context()); err != nil || len(states) != 0 {
		t.Fatalf("a new store has %v, %v", states, err)
	}
	first := capability.Initial("orders", true)
	first.Revision = 1
	second := first
	second.Revision, second.Owner, second.Since = 2, capability.Extracted, time.Unix(1, 0).UTC()
	second.Attempt = &capability.Attempt{To: capability.Extracted, Started: time.Unix(2, 0).UTC(), Outcome: capability.Done}
	for _, row := range []struct {
		state capability.Effective
		want  error
	}{{second, ErrConflict}, {first, nil}, {first, ErrConflict}, {second, nil}, {first, ErrConflict}} {
		if err := s.Publish(t.Context(), row.state); !errors.Is(err, row.want) {
			t.Fatalf("publish %d: got %v, want %v", row.state.Revision, err, row.want)
		}
	}
	states, err := s.elsewhere(t).Effective(t.Context())
	if err != nil || !reflect.DeepEqual(states, map[string]capability.Effective{"orders": second}) {
		t.Errorf("got %+v, %v", states, err)
	}
}

func TestNamesStayInTheirFolder(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".hidden", "a\x00", `a\b`} {
		if s.Publish(t.Context(), capability.Effective{Capability: name, Revision: 1}) == nil {
			t.Errorf("published %q", name)
		}
		if s.Register(t.Context(), capability.Registration{ID: name}) == nil || s.Deregister(t.Context(), name) == nil {
			t.Errorf("registered %q", name)
		}
	}
	if s.Append(t.Context(), capability.Entry{Capability: "a/b"}) == nil {
		t.Error("appended to another folder")
	}
	if err := s.Append(t.Context(), capability.Entry{Action: string(make([]byte, largest))}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestSpoiledStateIsAnError(t *testing.T) {
	s := newStore(t)
	for _, content := range []string{"{", `{"capability":"other"}`} {
		if _, err := s.client.KV().Put(pair(s.key(effective, "orders"), content), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Effective(t.Context()); err == nil {
			t.Errorf("%s is read", content)
		}
		if err := s.Publish(t.Context(), capability.Effective{Capability: "orders", Revision: 1}); err == nil {
			t.Errorf("%s is written over", content)
		}
	}
}

// One of many wins each revision, be they of one process or of two machines.
func TestPublishRace(t *testing.T) {
	s := newStore(t)
	far := s.elsewhere(t)
	const writers, revisions = 6, 15
	var won atomic.Int64
	var group sync.WaitGroup
	for w := range writers {
		own := []*Store{s, far}[w%2]
		group.Go(func() {
			for revision := uint64(1); revision <= revisions; revision++ {
				err := own.Publish(t.Context(), capability.Effective{Capability: "orders", Revision: revision, Refused: fmt.Sprint(w)})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := s.revision(t, "orders"); got != uint64(won.Load()) || got == 0 {
		t.Errorf("revision %d after %d wins", got, won.Load())
	}
}

// Between the read and the write of one store comes the write of another.
func TestPublishIsSwapped(t *testing.T) {
	s := newStore(t)
	s.publish(t, "orders", 1, 0)
	read, err := s.get(t.Context(), s.key(effective, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	s.elsewhere(t).publish(t, "orders", 2, 0)
	if err := s.swap(t.Context(), read.Key, []byte("{}"), read.ModifyIndex); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	if err := s.swap(t.Context(), read.Key, []byte("{}"), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("as new: %v", err)
	}
}

// A Consul that lost its data, or was restored from an old backup, does not take a
// capability back to another owner; the next state mends it.
func TestLostStatesAreHeld(t *testing.T) {
	s := newStore(t)
	s.publish(t, "orders", 1, 0)
	old := s.keys(t, effective)[0].Value
	s.publish(t, "orders", 2, 1)
	if got := s.revision(t, "orders"); got != 2 {
		t.Fatalf("got %d", got)
	}
	if _, err := s.client.KV().Put(pair(s.key(effective, "orders"), string(old)), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.revision(t, "orders"); got != 2 {
		t.Errorf("after a restore: %d", got)
	}
	s.lose(t, effective)
	for _, store := range []*Store{s, s.another(t)} {
		if got := store.revision(t, "orders"); got != 2 {
			t.Errorf("after a loss: %d", got)
		}
	}
	if err := s.Publish(t.Context(), capability.Effective{Capability: "orders", Revision: 1}); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	s.publish(t, "orders", 3, 1)
	if got := s.elsewhere(t).revision(t, "orders"); got != 3 {
		t.Errorf("mended: %d", got)
	}
}

func TestLedger(t *testing.T) {
	s := newStore(t)
	if entries, err := s.Ledger(t.Context(), "", 0); err != nil || len(entries) != 0 {
		t.Fatalf("a new ledger has %v, %v", entries, err)
	}
	s.now = func() time.Time { return time.Unix(5, 0) } // a clock that stands still
	for i := range 10 {
		name := []string{"orders", "cat.a.log", ""}[i%3]
		entry := capability.Entry{At: time.Unix(int64(i), 0).UTC(), Capability: name, Action: strconv.Itoa(i), Evidence: map[string]any{"n": "x"}}
		if err := s.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		limit int
		want  []string
	}{
		{"", 3, []string{"7", "8", "9"}},
		{"orders", 2, []string{"6", "9"}},
		{"cat.a.log", 0, []string{"1", "4", "7"}},
		{"cat.a.log", 100, []string{"1", "4", "7"}},
		{"billing", 1, nil},
	} {
		entries, err := s.another(t).Ledger(t.Context(), row.name, row.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, entry := range entries {
			got = append(got, entry.Action)
		}
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%q, %d: got %v, want %v", row.name, row.limit, got, row.want)
		}
	}
}

// The ledger does not grow for ever, whoever appends to it: the newest entries of
// each capability are kept, and those of others are left alone.
func TestLedgerIsBounded(t *testing.T) {
	s := newStore(t)
	s.entries = 5
	const writers, each = 4, 10
	for range 2 {
		if err := s.Append(t.Context(), capability.Entry{Capability: "catalog", Action: "rare"}); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for w := range writers {
		own := s.another(t)
		group.Go(func() {
			for i := range each {
				if err := own.Append(t.Context(), capability.Entry{Capability: "orders", Action: fmt.Sprint(w, "-", i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	last := ""
	for range 3 {
		if err := s.Append(t.Context(), capability.Entry{Capability: "orders", Action: "last" + last}); err != nil {
			t.Fatal(err)
		}
		last += "!"
	}
	for name, want := range map[string]int{"orders": 5, "catalog": 2, "": 7} {
		entries, err := s.Ledger(t.Context(), name, 0)
		if err != nil || len(entries) != want {
			t.Errorf("%d entries of %q, want %d, %v", len(entries), name, want, err)
		}
		if n := len(entries); name != "catalog" && n > 2 && (entries[n-3].Action != "last" || entries[n-1].Action != "last!!") {
			t.Errorf("the newest of %q are %v", name, entries[n-3:])
		}
	}
}

// A ledger that had grown before is shortened entry by entry, without ever making
// an append wait for all of it.
func TestLongLedgerIsShortened(t *testing.T) {
	s := newStore(t)
	s.entries = 1000
	for range 3 * mostTrimmed {
		if err := s.Append(t.Context(), capability.Entry{Capability: "orders"}); err != nil {
			t.Fatal(err)
		}
	}
	s.entries = 5
	for left := 3 * mostTrimmed; left > 5; left -= mostTrimmed - 1 {
		if err := s.Append(t.Context(), capability.Entry{Capability: "orders"}); err != nil {
			t.Fatal(err)
		}
		if got, want := len(s.keys(t, ledger)), max(5, left-mostTrimmed+1); got != want {
			t.Errorf("%d entries are left, want %d", got, want)
		}
	}
}

// TestWatchBringsStates: who is woken by a state has it already, whole and of its own; a loss is told as it is heard, and
// one that cannot be understood is left out.
func TestWatchBringsStates(t *testing.T) {
	s := newStore(t)
	other := s.elsewhere(t)
	signals := s.watching(t)
	become := func(want string) {
		t.Helper()
		timeout := time.After(deadline)
		for got := ""; got != want; {
			select {
			case <-signals:
			case <-timeout:
				t.Fatalf("heard %q, want %q", got, want)
			}
			heard := s.Heard()
			got = ""
			for _, name := range slices.Sorted(maps.Keys(heard)) {
				got += fmt.Sprintf("%s %d ", name, heard[name].Revision)
			}
		}
	}
	other.publish(t, "orders", 1, 0)
	become("orders 1 ")
	state := capability.Effective{Capability: "orders", Revision: 2, Attempt: &capability.Attempt{Outcome: capability.Running}}
	if err := other.Publish(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	become("orders 2 ")
	mine := s.Heard()
	if !reflect.DeepEqual(mine["orders"], state) {
		t.Errorf("heard %+v, want %+v", mine["orders"], state)
	}
	mine["orders"].Attempt.Outcome = capability.Done
	delete(mine, "orders")
	if again := s.Heard(); !reflect.DeepEqual(again["orders"], state) {
		t.Errorf("what was given out is what is kept: %+v", again)
	}
	if _, err := s.client.KV().Put(&api.KVPair{Key: s.key(effective, "stock"), Value: []byte("{")}, nil); err != nil {
		t.Fatal(err)
	}
	other.publish(t, "billing", 1, 0)
	become("billing 1 orders 2 ")
	if _, err := s.client.KV().Delete(s.key(effective, "stock"), nil); err != nil {
		t.Fatal(err)
	}
	if revision := s.revision(t, "orders"); revision != 2 {
		t.Errorf("revision %d is served, want 2", revision)
	}
	s.lose(t, effective)
	become("")
	if revision := s.revision(t, "orders"); revision != 2 {
		t.Errorf("revision %d is served, want 2", revision)
	}
}

// TestWhatWasHeardOutlivesSilence: a state that a watch has brought is served, and saved, also where Consul falls silent right
// behind it.
func TestWhatWasHeardOutlivesSilence(t *testing.T) {
	s := newStore(t)
	s.publish(t, "orders", 1, 0)
	if revision := s.revision(t, "orders"); revision != 1 {
		t.Fatalf("revision %d is served, want 1", revision)
	}
	signals := s.watching(t)
	s.elsewhere(t).publish(t, "orders", 2, 0)
	for s.Heard()["orders"].Revision != 2 {
		select {
		case <-signals:
		case <-time.After(deadline):
			t.Fatal("nothing is heard")
		}
	}
	silent := &quiet{time.Now().Add(time.Hour), errLate}
	for got := uint64(0); s.quiet[effective].Load() != silent; { // the watch may be about to say that Consul answers
		s.quiet[effective].Store(silent)
		if got = s.revision(t, "orders"); got != 2 {
			t.Fatalf("revision %d is served, want 2", got)
		}
	}
	later := s.another(t)
	later.quiet[effective].Store(silent)
	if revision := later.revision(t, "orders"); revision != 2 {
		t.Errorf("revision %d is served after a start, want 2", revision)
	}
}
