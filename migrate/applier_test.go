package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// tape is a target that writes down what it is told. The real one is tested
// with the adapter; here it is about boundaries that a server hits by chance.
type tape struct {
	stored  capability.Position
	lines   []string
	failing error
	early   bool // early changes find no row
}

func (s *tape) Progress() Progress { return Progress{Position: s.stored} }
func (s *tape) Close() error       { return nil }

func (s *tape) Exclusions() []Exclusion { return []Exclusion{{{Columns: []int{0}}}} }

func (s *tape) Undo(context.Context) error {
	s.lines = append(s.lines, "undo")
	return nil
}

func (s *tape) Fill(context.Context, []Change, capability.Position) error { return nil }

func (s *tape) ApplyEarly(_ context.Context, changes []Change) (missing []Change, err error) {
	if s.early {
		for _, c := range changes {
			missing = append(missing, Change{Kind: c.Kind, Table: c.Table, Values: c.Values, Key: [][]byte{c.Values[0].Text}})
		}
	}
	return missing, s.failing
}

// asking is a source that writes down on the same tape what it is asked.
type asking struct{ *tape }

func (a asking) Visible(_ context.Context, transactions []uint32) error {
	a.lines = append(a.lines, fmt.Sprintf("visible %d", transactions))
	return nil
}

func (a asking) ByKey(_ context.Context, _ Selection, _ []KeyColumn, keys [][]string) ([]Found, error) {
	a.lines = append(a.lines, fmt.Sprintf("fetch %s", keys))
	return nil, nil
}

func (a asking) Heartbeat(context.Context) (capability.Position, error) { return 0, nil }

func (s *tape) Apply(_ context.Context, changes []Change) error {
	s.lines = append(s.lines, fmt.Sprintf("apply %d", len(changes)))
	return s.failing
}

func (s *tape) Commit(_ context.Context, changes []Change, position capability.Position) error {
	var ids []string
	for _, c := range changes {
		ids = append(ids, string(c.Values[0].Text))
	}
	s.lines = append(s.lines, fmt.Sprintf("commit %s at %d", strings.Join(ids, ","), position))
	return s.failing
}

// tabled is an applier for one table with the key id.
func tabled(t *testing.T, stored capability.Position) (*applier, *tape) {
	t.Helper()
	table := Table{Relation: Relation{"public", "t"}, Columns: []Column{{Name: "id"}}, Key: []string{"id"}}
	pair := Pair{Legacy: table, Extracted: table, Columns: []ColumnPair{{"id", "id"}}}
	s := NewStream(StreamOptions{Capability: "orders", From: capability.Legacy, Mappings: []Mapping{pair.Direct(capability.Legacy)}})
	session := &tape{stored: stored}
	s.standing.resume(stored)
	s.changed.Reset()
	at := func(f func() error) {
		if err := f(); err != nil && session.failing == nil {
			t.Error(err)
		}
	}
	return newApplier(s, session, nil, at), session // nothing is ever under way: it is done at once
}

// play feeds events, each transaction with its relation's description.
func play(t *testing.T, a *applier, events ...Event) error {
	t.Helper()
	for _, e := range events {
		if err := a.take(t.Context(), item{Received: Received{Event: e}, at: time.Now()}); err != nil {
			return err
		}
	}
	return nil
}

// rest is what happens when no event is waiting.
func rest(t *testing.T, a *applier) {
	t.Helper()
	if err := a.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func insert(id string) Row { return Row{Kind: Insert, Relation: 1, New: []Value{{Text: []byte(id)}}} }

// transactionOf commits at the position, eight bytes long, as records are.
func transactionOf(commit capability.Position, inner ...Event) []Event {
	shape := Shape{ID: 1, Relation: Relation{"public", "t"}, Identity: 'd', Columns: []ShapeColumn{{Name: "id", Key: true}}}
	events := append([]Event{Begin{Commit: commit}, shape}, inner...)
	return append(events, Commit{Commit: commit, End: commit + 8})
}

func told(t *testing.T, session *tape, want ...string) {
	t.Helper()
	if !slices.Equal(session.lines, want) {
		t.Errorf("the target was told %.500q, not %q", session.lines, want)
	}
	session.lines = nil
}

// A transaction is skipped iff it ended at or before the stored position; the
// next one may begin to commit exactly there.
func TestApplierSkipsExactlyWhatIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		a, session := tabled(t, 108)
		events := slices.Concat(transactionOf(92, insert("a")), transactionOf(100, insert("b")), transactionOf(108, insert("c")), []Event{Keepalive{End: 116}})
		if err := play(t, a, events...); err != nil {
			t.Fatal(err)
		}
		told(t, session) // a keepalive alone ends no group
		rest(t, a)
		told(t, session, "commit c at 116")
		if n := a.changed.Len(); n != 1 {
			t.Errorf("%d changed keys", n)
		}
	})
}

// Nothing that commits at the hold's position itself is let through, and what
// ends there is durable before the hold is said to stand.
func TestApplierStopsExactlyAtTheHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		a, session := tabled(t, 50)
		hold := &Hold{at: 108}
		a.standing.hold = hold
		done := make(chan error)
		go func() {
			done <- play(t, a, slices.Concat(transactionOf(100, insert("a")), transactionOf(108, insert("b")), []Event{Keepalive{End: 116}})...)
		}()
		if err := a.standing.await(t.Context(), func() (bool, error) { return a.standing.applied >= 108, nil }); err != nil {
			t.Fatal(err)
		}
		told(t, session, "commit a at 108")
		a.standing.change(func() { hold.at = 109 })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		rest(t, a)
		told(t, session, "commit b at 116")
	})
}

// A keepalive inside a transaction does not speak for it, and does not cut it.
func TestApplierTakesTransactionsWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		a, session := tabled(t, 50)
		if err := play(t, a, transactionOf(100, insert("a"), Keepalive{End: 96}, insert("b"), Keepalive{End: 200}, Message{"strangler", "m"})...); err != nil {
			t.Fatal(err)
		}
		if applied, _ := a.standing.positions(); applied != 50 {
			t.Errorf("applied %d before the transaction was", applied)
		}
		if err := play(t, a, Keepalive{End: 300}); err != nil {
			t.Fatal(err)
		}
		rest(t, a)
		told(t, session, "commit a,b at 300")
		if applied, persisted := a.standing.positions(); applied != 300 || persisted != 300 {
			t.Errorf("applied %d, persisted %d", applied, persisted)
		}
	})
}

// When the connection breaks at COMMIT nobody knows: the rows count as changed,
// and the marker as passed as soon as the target says that it was applied.
func TestApplierDoesNotTrustAFailedCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		a, session := tabled(t, 50)
		session.failing = errors.New("broken")
		if err := play(t, a, append(transactionOf(100, insert("a"), Message{"strangler", "m"}), Keepalive{End: 108})...); err != nil {
			t.Fatal(err)
		}
		if err := a.settle(t.Context()); !errors.Is(err, session.failing) {
			t.Fatalf("got %v", err)
		}
		if a.changed.Len() != 1 {
			t.Error("a row that may have changed is not remembered")
		}
		if applied, persisted := a.standing.positions(); applied != 50 || persisted != 50 {
			t.Errorf("applied %d, persisted %d after a failed commit", applied, persisted)
		}
		a.standing.resume(108)
		stream := Stream{standing: a.standing}
		if err := stream.WaitMarker(t.Context(), "m"); err != nil {
			t.Error(err)
		}
	})
}

// Echoes are dropped, foreign origins are not; small transactions share one of
// the target's, and a large one goes there in pieces.
func TestApplierGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		a, session := tabled(t, 50)
		err := play(t, a, slices.Concat(
			transactionOf(100, Origin{"strangler_orders_extracted"}, insert("echo")),
			transactionOf(108, Origin{"pg_16384"}, insert("a")),
			transactionOf(116, insert("b")),
			[]Event{Keepalive{End: 124}})...)
		if err != nil {
			t.Fatal(err)
		}
		rest(t, a)
		told(t, session, "commit a,b at 124")
		var many []Event
		for i := range pieceChanges + 1 {
			many = append(many, insert(fmt.Sprint(i)))
		}
		if err := play(t, a, transactionOf(200, many...)...); err != nil {
			t.Fatal(err)
		}
		told(t, session, fmt.Sprintf("apply %d", pieceChanges), fmt.Sprintf("commit %d at 208", pieceChanges))
		if n := a.changed.Len(); n != pieceChanges+3 {
			t.Errorf("%d changed keys", n)
		}
	})
}

// What is fetched is asked for when all transactions of the group are visible, the
// one that is sent in pieces too; others need not be.
func TestApplierFetchesWhatItsGroupHasLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		a, session := tabled(t, 50)
		session.early, a.fetcher = true, asking{session}
		a.standing.raise(500)
		numbered := func(id uint32, commit capability.Position, inner ...Event) []Event {
			events := transactionOf(commit, inner...)
			events[0] = Begin{Commit: commit, ID: id}
			return events
		}
		echo := numbered(8, 108, Origin{"strangler_orders_extracted"}, insert("echo"))
		if err := play(t, a, slices.Concat(numbered(7, 100, insert("a"), insert("b")), echo, numbered(9, 116), numbered(6, 124, insert("c")))...); err != nil {
			t.Fatal(err)
		}
		rest(t, a)
		told(t, session, "visible [7 6]", "fetch [[a] [b] [c]]", "commit  at 132")
		var many []Event
		for range pieceChanges {
			many = append(many, insert("same"))
		}
		if err := play(t, a, numbered(10, 200, append(many, insert("last"))...)...); err != nil {
			t.Fatal(err)
		}
		told(t, session, "visible [10]", "fetch [[same]]", "visible [10]", "fetch [[last]]", "commit  at 208")
		if err := play(t, a, numbered(11, 600, insert("strict"))...); err != nil {
			t.Fatal(err)
		}
		rest(t, a)
		told(t, session, "commit strict at 608")
	})
}

// An idle position is written to the target, but never while anything waits.
func TestApplierPersistsIdlePositions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		a, session := tabled(t, 50)
		for _, events := range [][]Event{nil, {Begin{Commit: 60}}, {Commit{Commit: 60, End: 68}}, {Keepalive{End: 90}}} {
			if err := play(t, a, events...); err != nil {
				t.Fatal(err)
			}
			if err := a.idle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		told(t, session, "commit  at 90")
	})
}

// Nonsense ends the connection instead of being guessed at.
func TestApplierRefusesBrokenStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		for name, events := range map[string][]Event{
			"row outside":      {insert("a")},
			"commit outside":   {Commit{Commit: 60, End: 68}},
			"begin in begin":   {Begin{Commit: 60}, Begin{Commit: 70}},
			"another's commit": {Begin{Commit: 60}, Commit{Commit: 70, End: 78}},
			"unknown relation": {Begin{Commit: 60}, insert("a")},
			"missing column":   transactionOf(60, Row{Kind: Insert, Relation: 1}),
			"key without text": transactionOf(60, Row{Kind: Delete, Relation: 1, Old: []Value{{}}}),
		} {
			a, session := tabled(t, 50)
			if err := play(t, a, append(events, Keepalive{End: 500})...); err == nil || len(session.lines) > 0 {
				t.Errorf("%s: %v, %q", name, err, session.lines)
			}
		}
	})
}

// What another capability's mover has written is news here: a reference copy of
// its table would stand still otherwise.
func TestApplierSkipsItsOwnEchoOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: groups do not grow old
		for name, echo := range map[string]bool{
			"strangler_orders_extracted": true, "strangler_orders_extracted_copy1": true, "strangler_orders_extracted_apply3": true,
			"strangler_catalog_extracted": false, "strangler_orders_eu_extracted": false, "strangler_orders_legacy": false, "pg_16384": false,
		} {
			a, session := tabled(t, 0)
			if err := play(t, a, transactionOf(100, Origin{name}, insert("a"))...); err != nil {
				t.Fatal(err)
			}
			if err := a.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if written := len(session.lines) > 0; written == echo {
				t.Errorf("%s: the target was told %q", name, session.lines)
			}
		}
	})
}
