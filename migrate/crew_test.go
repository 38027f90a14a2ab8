package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"strangler/capability"
)

// stagecrew is a crew whose sessions do what a test lets them: it decides which one is
// slow, where a server decides by chance.
type stagecrew struct {
	*crew
	t     *testing.T
	group *errgroup.Group

	mu     sync.Mutex
	lines  []string
	slow   map[string]chan struct{} // by key: until it is closed, its group is being written
	wrong  map[string]error         // by key: what Apply says to it
	broken map[string]error         // by key: what Commit says
	close  bool                     // the stream is close behind its source
}

// extra is one session of it.
type extra struct {
	tape
	crew *stagecrew
}

func newStagecrew(t *testing.T) (*stagecrew, context.Context) {
	t.Helper()
	s := &stagecrew{t: t, slow: map[string]chan struct{}{}, wrong: map[string]error{}, broken: map[string]error{}}
	var ctx context.Context
	s.group, ctx = errgroup.WithContext(t.Context())
	open := func(context.Context, int) (Session, error) { return &extra{crew: s}, nil }
	s.crew = newCrew(&extra{crew: s}, open, s.group.Go, func(g group, err error) { s.say("landed %s %v", firsts(g.pending), err) }, func() bool { return !s.close })
	return s, ctx
}

func (s *stagecrew) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// told compares what happened since it was asked last.
func (s *stagecrew) told(want ...string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.lines, want) {
		s.t.Errorf("it went %q, not %q", s.lines, want)
	}
	s.lines = nil
}

func (s *stagecrew) send(ctx context.Context, keys ...string) {
	s.t.Helper()
	if err := s.dispatch(ctx, groupOf(keys...)); err != nil {
		s.t.Error(err)
	}
}

func groupOf(keys ...string) group {
	g := group{count: len(keys), end: 8}
	for _, key := range keys {
		g.pending = append(g.pending, Change{Kind: ChangeInsert, Values: []Value{{Text: []byte(key)}}})
	}
	return g
}

func firsts(changes []Change) string {
	var keys []string
	for _, c := range changes {
		keys = append(keys, string(c.Values[0].Text))
	}
	return strings.Join(keys, ",")
}

func (e *extra) stall(ctx context.Context, keys string) error {
	e.crew.mu.Lock()
	slow := e.crew.slow[keys]
	e.crew.mu.Unlock()
	if slow == nil {
		return nil
	}
	select {
	case <-slow:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *extra) Apply(ctx context.Context, changes []Change) error {
	keys := firsts(changes)
	if err := e.stall(ctx, keys); err != nil {
		return err
	}
	e.crew.say("apply %s", keys)
	return e.crew.wrong[keys]
}

func (e *extra) Commit(ctx context.Context, changes []Change, _ capability.Position) error {
	keys := firsts(changes)
	if err := e.stall(ctx, keys); err != nil {
		return err
	}
	e.crew.say("commit %s", keys)
	return e.crew.broken[keys]
}

func (e *extra) Undo(context.Context) error {
	e.crew.say("undo")
	return nil
}

// TestGroupsAreCommittedInOrder: what is written first waits for what comes first.
func TestGroupsAreCommittedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newStagecrew(t)
		s.slow["a"], s.slow["b"] = make(chan struct{}), make(chan struct{})
		s.send(ctx, "a")
		s.send(ctx, "b")
		s.send(ctx, "c", "d")
		s.told("apply c,d")
		close(s.slow["b"])
		s.told("apply b")
		close(s.slow["a"])
		s.told("commit a", "landed a <nil>", "commit ", "landed b <nil>", "commit ", "landed c,d <nil>")
		if s.busy() {
			t.Error("it is busy")
		}
		if err := s.group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestGroupsThatMeetWait: whoever writes a row that is being written waits for that
// group, and for none behind it.
func TestGroupsThatMeetWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newStagecrew(t)
		s.slow["a,b"], s.slow["c"] = make(chan struct{}), make(chan struct{})
		s.send(ctx, "a", "b")
		s.send(ctx, "c")
		if s.ready(groupOf("d", "b")) || !s.ready(groupOf("d", "e")) {
			t.Error("it is not told which groups could go")
		}
		sent := make(chan struct{})
		go func() {
			s.send(ctx, "d", "b")
			close(sent)
		}()
		s.told()
		close(s.slow["a,b"])
		s.told("commit a,b", "landed a,b <nil>", "apply d,b")
		<-sent
		close(s.slow["c"])
		s.told("apply c", "commit ", "landed c <nil>", "commit ", "landed d,b <nil>")
	})
}

// TestAGroupThatFailsBeforeItsTurnIsWrittenAgain, and others go alone for a while.
func TestAGroupThatFailsBeforeItsTurnIsWrittenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newStagecrew(t)
		s.slow["a"] = make(chan struct{})
		s.wrong["b"] = &ConflictError{}
		s.send(ctx, "a")
		s.send(ctx, "b")
		s.told("apply b", "undo")
		close(s.slow["a"])
		s.told("commit a", "landed a <nil>", "commit b", "landed b <nil>")
		for i := range cautious + 1 {
			key := fmt.Sprint(i)
			s.slow[key] = make(chan struct{})
			go s.send(ctx, key)
			if i < cautious {
				s.told()
				close(s.slow[key])
				s.told("commit "+key, "landed "+key+" <nil>")
			}
		}
		synctest.Wait()
		s.send(ctx, "z")
		s.told("apply z")
		close(s.slow[fmt.Sprint(cautious)])
		if err := s.group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingFollowsAGroupThatFails, whatever was written already, and its failure is
// the one that is told.
func TestNothingFollowsAGroupThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newStagecrew(t)
		s.slow["a"] = make(chan struct{})
		s.broken["a"] = &ConflictError{Detail: "of a"}
		s.send(ctx, "a")
		s.send(ctx, "b")
		s.told("apply b")
		close(s.slow["a"])
		s.told("commit a", fmt.Sprintf("landed a %v", s.broken["a"]), fmt.Sprintf("landed b %v", s.broken["a"]))
		var conflict *ConflictError
		if err := s.dispatch(ctx, groupOf("c")); !errors.As(err, &conflict) {
			t.Errorf("a group behind it: %v", err)
		}
		if err := s.drain(ctx); !errors.As(err, &conflict) {
			t.Errorf("drained: %v", err)
		}
		if err := s.group.Wait(); !errors.As(err, &conflict) {
			t.Errorf("the stream hears of %v", err)
		}
		s.told()
	})
}

// TestAWrittenGroupLetsGoOfItsRows when its turn does not come: somebody may wait for
// them and have what the group before it waits for.
func TestAWrittenGroupLetsGoOfItsRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newStagecrew(t)
		s.slow["a"] = make(chan struct{})
		s.send(ctx, "a")
		s.send(ctx, "b")
		s.told("apply b")
		time.Sleep(turnPatience)
		s.told("undo")
		close(s.slow["a"])
		s.told("commit a", "landed a <nil>", "commit b", "landed b <nil>")
	})
}

// TestAStreamThatIsCloseOpensNoSession: those that it has are used.
func TestAStreamThatIsCloseOpensNoSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newStagecrew(t)
		s.slow["a"], s.slow["d"] = make(chan struct{}), make(chan struct{})
		s.close = true
		s.send(ctx, "a")
		if s.ready(groupOf("b")) {
			t.Error("a second session is to be opened")
		}
		go s.send(ctx, "b")
		s.told()
		close(s.slow["a"])
		s.told("commit a", "landed a <nil>", "commit b", "landed b <nil>")
		s.close = false
		s.slow["c"] = make(chan struct{})
		s.send(ctx, "c")
		s.send(ctx, "e")
		s.told("apply e")
		close(s.slow["c"])
		s.told("commit c", "landed c <nil>", "commit ", "landed e <nil>")
		s.close = true
		s.send(ctx, "d")
		s.send(ctx, "f")
		s.told("apply f")
		close(s.slow["d"])
		if err := s.group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheCrewIsAsLargeAsItMayBe: more groups than sessions wait, and so they do where
// no further session is to be had.
func TestTheCrewIsAsLargeAsItMayBe(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int{"all": Sessions, "one": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, ctx := newStagecrew(t)
				opened := 1
				s.open = func(context.Context, int) (Session, error) {
					if most == 1 {
						return nil, errors.New("no room")
					}
					opened++
					return &extra{crew: s}, nil
				}
				s.slow["0"] = make(chan struct{})
				sent := 0
				go func() {
					for i := range Sessions + 2 {
						s.send(ctx, fmt.Sprint(i))
						sent = i + 1
					}
				}()
				synctest.Wait()
				if sent != most || opened != most {
					t.Errorf("%d groups under way in %d sessions", sent, opened)
				}
				close(s.slow["0"])
				synctest.Wait()
				if sent != Sessions+2 {
					t.Errorf("%d groups were sent", sent)
				}
				if err := s.group.Wait(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestChangesClaimWhatTheyExcludeOthersBy.
func TestChangesClaimWhatTheyExcludeOthersBy(t *testing.T) {
	t.Parallel()
	e := Exclusion{{Columns: []int{0}}, {Columns: []int{2, 1}}, {Columns: []int{3}, Nulls: true}}
	null := Value{}
	row := func(values ...string) []Value {
		var list []Value
		for _, v := range values {
			list = append(list, Value{Text: []byte(v)})
		}
		return list
	}
	key := func(v string) [][]byte { return [][]byte{[]byte(v)} }
	one := Change{Kind: ChangeInsert, Values: row("1", "a", "b", "x")}
	for _, c := range []struct {
		name  string
		other Change
		meet  bool
	}{
		{"another row", Change{Values: row("2", "c", "d", "y")}, false},
		{"the same values in other columns", Change{Values: row("2", "b", "a", "1")}, false},
		{"the key", Change{Values: row("1", "c", "d", "y")}, true},
		{"a unique index", Change{Values: row("2", "a", "b", "y")}, true},
		{"half of one", Change{Values: row("2", "a", "c", "y")}, false},
		{"a delete", Change{Key: key("1")}, true},
		{"a delete of another", Change{Key: key("a")}, false},
		{"an update that takes the key", Change{Key: key("2"), Values: row("1", "c", "d", "y"), Moved: true}, true},
		{"an update that gives it up", Change{Key: key("1"), Values: row("2", "c", "d", "y"), Moved: true}, true},
		{"values that were not sent", Change{Key: key("2"), Values: []Value{{Text: []byte("2")}, {Unchanged: true}, {Text: []byte("b")}, {Text: []byte("y")}}}, false},
		{"another table", Change{Table: 1, Values: row("1", "a", "b", "x")}, false},
	} {
		if got := meet(e, one, c.other); got != c.meet {
			t.Errorf("%s: meet %v", c.name, got)
		}
	}
	of := func(values ...Value) Change { return Change{Values: values} }
	a, b := of(row("1")[0], null, row("x")[0], null), of(row("2")[0], null, row("x")[0], null)
	if !meet(e, a, b) {
		t.Error("NULL that counts does not")
	}
	b.Values[3] = row("y")[0]
	if meet(e, a, b) {
		t.Error("NULL that does not count does")
	}
	if !meet(nil, one, Change{Values: row("2", "c", "d", "y")}) {
		t.Error("changes of a table that tells nothing are apart")
	}
}

func meet(e Exclusion, a, b Change) bool {
	e2 := []Exclusion{e, e}
	fa, fb := &flight{group: group{pending: []Change{a}}}, &flight{group: group{pending: []Change{b}}}
	return fa.meets(fb, e2)
}
