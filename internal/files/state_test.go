package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
)

func TestPublish(t *testing.T) {
	t.Parallel()
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
	states, err := reopen(s).Effective(t.Context())
	if err != nil || !reflect.DeepEqual(states, map[string]capability.Effective{"orders": second}) {
		t.Errorf("got %+v, %v", states, err)
	}
}

func TestNamesStayInTheirDirectory(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".hidden", "a\x00"} {
		if s.Publish(t.Context(), capability.Effective{Capability: name, Revision: 1}) == nil {
			t.Errorf("published %q", name)
		}
		if s.Register(t.Context(), capability.Registration{ID: name}) == nil || s.Deregister(t.Context(), name) == nil {
			t.Errorf("registered %q", name)
		}
	}
}

func TestSpoiledStateIsAnError(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, content := range []string{"{", `{"capability":"other"}`} {
		if err := s.save([]byte(content), public, "effective", "orders.json"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Effective(t.Context()); err == nil {
			t.Errorf("%s is read", content)
		}
	}
}

// One of many wins each revision, and no reader ever sees half a file.
func TestPublishRace(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const writers, revisions = 8, 20
	var won atomic.Int64
	var group sync.WaitGroup
	for w := range writers {
		own := s
		if w%2 == 1 {
			own = reopen(s) // as another process
		}
		group.Go(func() {
			for revision := uint64(1); revision <= revisions; revision++ {
				err := own.Publish(t.Context(), capability.Effective{Capability: "orders", Revision: revision, Refused: fmt.Sprint(w)})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
				if _, err := own.Effective(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	states, err := s.Effective(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := states["orders"].Revision; got != uint64(won.Load()) || got == 0 {
		t.Errorf("revision %d after %d wins", got, won.Load())
	}
}

// The lock holds across processes: this test starts itself as writers.
func TestAcrossProcesses(t *testing.T) {
	const variable, count = "STORE_UNDER_TEST", 25
	if dir := os.Getenv(variable); dir != "" {
		s := New(Options{State: dir})
		for range count {
			err := ErrConflict
			for errors.Is(err, ErrConflict) {
				states, readErr := s.Effective(t.Context())
				if readErr != nil {
					t.Fatal(readErr)
				}
				err = s.Publish(t.Context(), capability.Effective{Capability: "orders", Revision: states["orders"].Revision + 1})
			}
			if err = errors.Join(err, s.Append(t.Context(), capability.Entry{Capability: "orders"})); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	t.Parallel()
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAcrossProcesses$", "-test.timeout="+strconv.Itoa(30)+"s")
			command.Env = append(os.Environ(), variable+"="+dir)
			if output, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
	group.Wait()
	s := New(Options{State: dir})
	states, err := s.Effective(t.Context())
	entries, ledgerErr := s.Ledger(t.Context(), "", 0)
	if err != nil || ledgerErr != nil || states["orders"].Revision != 3*count || len(entries) != 3*count {
		t.Errorf("revision %d, %d entries, %v, %v; want %d of each", states["orders"].Revision, len(entries), err, ledgerErr, 3*count)
	}
}

func TestWaitingForTheLockEnds(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.locked(t.Context(), func() error {
		result := make(chan error)
		go func() { result <- reopen(s).Append(ctx, capability.Entry{}) }()
		go func() { result <- s.Append(ctx, capability.Entry{}) }()
		cancel()
		return errors.Join(<-result, <-result)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if entries, err := s.Ledger(t.Context(), "", 0); err != nil || len(entries) != 0 {
		t.Fatalf("a new ledger has %v, %v", entries, err)
	}
	for i := range 10 {
		name := []string{"orders", "catalog"}[i%2]
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
		{"orders", 2, []string{"6", "8"}},
		{"orders", 0, []string{"0", "2", "4", "6", "8"}},
		{"orders", 100, []string{"0", "2", "4", "6", "8"}},
		{"billing", 1, nil},
	} {
		entries, err := s.Ledger(t.Context(), row.name, row.limit)
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

// A crash in the middle of a line costs that line only.
func TestTornLedger(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if err := s.Append(t.Context(), capability.Entry{Action: "before"}); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(s.path(ledgerFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"action":"to`); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if entries, err := s.Ledger(t.Context(), "", 0); err != nil || len(entries) != 1 {
		t.Fatalf("got %v, %v", entries, err)
	}
	if err := s.Append(t.Context(), capability.Entry{Action: "after"}); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Ledger(t.Context(), "", 0)
	if err != nil || len(entries) != 2 || entries[1].Action != "after" {
		t.Errorf("got %v, %v", entries, err)
	}
}

// A ledger that is full is put aside, and the one before it goes; what is read spans
// both, also when the program died just after it had put one aside.
func TestLedgerIsPutAside(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bound = 1000
	wrote := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := s.Append(t.Context(), capability.Entry{Capability: []string{"orders", "catalog"}[i%2], Action: strconv.Itoa(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(name string, limit int) (got []string) {
		t.Helper()
		entries, err := s.Ledger(t.Context(), name, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			got = append(got, entry.Action)
		}
		return got
	}
	wrote(0, 100)
	all := read("", 0)
	for i, action := range all {
		if want := strconv.Itoa(100 - len(all) + i); action != want {
			t.Fatalf("entry %d of %v is not %s", i, all, want)
		}
	}
	size := int64(0)
	for _, file := range []string{ledgerFile, asideFile} {
		info, err := os.Stat(s.path(file))
		if err != nil {
			t.Fatal(err)
		}
		if size += info.Size(); info.Size() > s.bound {
			t.Errorf("%s has %d bytes", file, info.Size())
		}
	}
	if size <= s.bound {
		t.Errorf("%d bytes are kept, which one file could hold", size)
	}
	if got, want := read("", len(all)-1), all[1:]; !reflect.DeepEqual(got, want) {
		t.Errorf("the last but one: %v, want %v", got, want)
	}
	if got, want := read("catalog", 2), []string{"97", "99"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the last two: %v, want %v", got, want)
	}
	if err := os.Rename(s.path(ledgerFile), s.path(asideFile)); err != nil {
		t.Fatal(err)
	}
	if got := read("", 1); !reflect.DeepEqual(got, []string{"99"}) {
		t.Errorf("nothing written since it was put aside: %v", got)
	}
	wrote(100, 101)
	if got := read("", 2); !reflect.DeepEqual(got, []string{"99", "100"}) {
		t.Errorf("after that: %v", got)
	}
}

func TestRegistrations(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx := t.Context()
	two := capability.Registration{ID: "p2", Admin: "http://127.0.0.1:2", Renewed: time.Unix(2, 0).UTC()}
	one := capability.Registration{ID: "p1", Admin: "http://127.0.0.1:1", Renewed: time.Unix(1, 0).UTC()}
	again := one
	again.Renewed = time.Unix(3, 0).UTC()
	for _, r := range []capability.Registration{two, one, again} {
		if err := s.Register(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := reopen(s).Registered(ctx); err != nil || !reflect.DeepEqual(all, []capability.Registration{again, two}) {
		t.Errorf("got %v, %v", all, err)
	}
	for range 2 {
		if err := s.Deregister(ctx, "p1"); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.Registered(ctx); err != nil || !reflect.DeepEqual(all, []capability.Registration{two}) {
		t.Errorf("got %v, %v", all, err)
	}
}
