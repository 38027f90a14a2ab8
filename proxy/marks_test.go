package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

func write(m *marks, subject string) { m.end(m.begin(subject)) }

func newTestMarks(limit int) *marks {
	m := newMarks(limit, func() {})
	m.set(capability.Legacy, 1)
	return m
}

func mark(epoch uint64, position, applied capability.Position) capability.Mark {
	return capability.Mark{Epoch: epoch, Position: position, Applied: applied, Current: true}
}

func wantPinned(t *testing.T, m *marks, subject string, want bool) {
	t.Helper()
	if m.pinned(subject) != want {
		t.Fatalf("%s: pinned is %v, want %v", subject, !want, want)
	}
}

func TestSubjectIsPinnedFromBeforeItsWriteUntilItIsApplied(t *testing.T) {
	m := newTestMarks(10)
	p := m.begin("a")
	wantPinned(t, m, "a", true)
	wantPinned(t, m, "b", false)
	m.end(p)
	q, _ := m.ask()
	write(m, "c") // after the question: its answer says nothing about this
	m.answer(q, mark(1, 100, 90), nil)
	wantPinned(t, m, "a", true)
	q, _ = m.ask()
	m.answer(q, mark(1, 200, 100), nil)
	wantPinned(t, m, "a", false)
	wantPinned(t, m, "c", true)
	q, _ = m.ask()
	m.answer(q, mark(1, 300, 200), nil)
	wantPinned(t, m, "c", false)
	if _, ok := m.ask(); ok {
		t.Error("asks with nobody waiting")
	}
}

func TestLaterWriteOutlastsTheMarkOfAnEarlierOne(t *testing.T) {
	m := newTestMarks(10)
	write(m, "a")
	q, _ := m.ask()
	write(m, "a")
	m.answer(q, mark(1, 100, 100), nil)
	wantPinned(t, m, "a", true)
	second := m.begin("a")
	q, _ = m.ask()
	m.answer(q, mark(1, 200, 200), nil)
	wantPinned(t, m, "a", true) // one is still in flight
	m.end(second)
	q, _ = m.ask()
	m.answer(q, mark(1, 300, 300), nil)
	wantPinned(t, m, "a", false)
}

func TestWithoutAMarkTheSubjectStays(t *testing.T) {
	for _, c := range []struct {
		name string
		mark capability.Mark
		err  error
	}{
		{"no controller", capability.Mark{}, errors.New("refused")},
		{"no stream", capability.Mark{Epoch: 1, Position: 1, Applied: 2}, nil},
		{"older epoch: of the database that owned before", mark(0, 1, 2), nil},
	} {
		m := newTestMarks(10)
		write(m, "a")
		q, _ := m.ask()
		if m.answer(q, c.mark, c.err) {
			t.Errorf("%s: was taken", c.name)
		}
		wantPinned(t, m, "a", true)
		q, ok := m.ask()
		if !ok || len(q.tokens) != 1 {
			t.Fatalf("%s: not asked again: %+v", c.name, q)
		}
		m.answer(q, mark(1, 1, 1), nil)
		wantPinned(t, m, "a", false)
	}
}

// A gate that closes takes a new epoch with the same owner; one that has been
// switched, with the other. The positions of the two must not be mixed.
func TestPositionsOfDifferentEpochsAreNotCompared(t *testing.T) {
	m := newTestMarks(10)
	write(m, "a")
	q, _ := m.ask()
	m.answer(q, mark(1, 100, 90), nil)
	q, _ = m.ask()
	m.answer(q, mark(2, 5000, 4000), nil) // 4000 is far above 100, in another stream
	wantPinned(t, m, "a", true)
	q, _ = m.ask()
	m.answer(q, mark(2, 6000, 5000), nil)
	wantPinned(t, m, "a", false)
	if m.waiting != 0 || len(m.marked) != 0 {
		t.Errorf("left %d tokens", m.waiting)
	}
}

func TestSwitchSatisfiesWhatWasWrittenBeforeIt(t *testing.T) {
	m := newTestMarks(10)
	write(m, "ended")
	q, _ := m.ask()
	m.answer(q, mark(1, 100, 0), nil)
	write(m, "asked")
	q, _ = m.ask()
	write(m, "waiting")
	flying := m.begin("flying")
	m.set(capability.Legacy, 3) // undone: a newer epoch, nothing drained
	for _, subject := range []string{"ended", "asked", "waiting", "flying"} {
		wantPinned(t, m, subject, true)
	}
	m.set(capability.Extracted, 4)
	write(m, "after")
	m.answer(q, mark(4, 5, 1), nil) // asked of the old owner: worth nothing
	for subject, want := range map[string]bool{"ended": false, "asked": false, "waiting": false, "flying": true, "after": true} {
		wantPinned(t, m, subject, want)
	}
	m.end(flying)
	wantPinned(t, m, "flying", true)
	q, _ = m.ask()
	m.answer(q, mark(4, 7, 7), nil)
	wantPinned(t, m, "flying", false)
	wantPinned(t, m, "after", false)
}

func TestMarksAreBounded(t *testing.T) {
	m := newTestMarks(3)
	for i := range 4 {
		write(m, fmt.Sprint(i))
	}
	wantPinned(t, m, "a stranger", true)
	for round := range 50 { // no controller, and everybody goes on writing
		for i := range 4 {
			write(m, fmt.Sprint(i))
		}
		q, _ := m.ask()
		m.answer(q, mark(1, capability.Position(100+round), 0), nil) // stands still
		write(m, "0")
		q, _ = m.ask()
		m.answer(q, capability.Mark{}, errors.New("refused"))
	}
	if m.waiting > 2*3+4 || len(m.ended) > 4 || len(m.subjects) > 3 || len(m.marked) > 10 {
		t.Errorf("kept %d tokens in %d batches, %d ended, %d subjects", m.waiting, len(m.marked), len(m.ended), len(m.subjects))
	}
	q, _ := m.ask()
	m.answer(q, mark(1, 1000, 1000), nil)
	wantPinned(t, m, "a stranger", false)
	wantPinned(t, m, "0", false)
	if m.waiting != 0 || len(m.marked) != 0 || m.count() != 0 {
		t.Errorf("left %d tokens, %d subjects", m.waiting, m.count())
	}
}

// scripted answers marks from atomics and counts the questions.
type scripted struct {
	written, applied atomic.Uint64
	asked, at        atomic.Int64
	overlapping      atomic.Bool
	down             atomic.Bool
}

func (s *scripted) Mark(context.Context, string) (capability.Mark, error) {
	if s.at.Add(1) > 1 {
		s.overlapping.Store(true)
	}
	defer s.at.Add(-1)
	s.asked.Add(1)
	if s.down.Load() {
		return capability.Mark{}, errors.New("no controller")
	}
	return mark(1, capability.Position(s.written.Load()), capability.Position(s.applied.Load())), nil
}

func TestQuestionsAreCoalescedAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{}
		source.written.Store(100)
		p := &Proxy{options: Options{Marks: source}, log: quietLog()}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		p.loops.open(ctx)
		l := &lasting{name: "orders", hold: newHold(wide)}
		l.marks = newMarks(1000, func() { p.askMarks(l) })
		l.marks.set(capability.Legacy, 1)
		for i := range 200 {
			wg.Go(func() { write(l.marks, fmt.Sprint(i)) })
		}
		wg.Wait()
		time.Sleep(time.Second) // virtual
		if n := source.asked.Load(); n < 15 || n > 25 || source.overlapping.Load() {
			t.Errorf("asked %d times in a second for 200 subjects; overlapping %v", n, source.overlapping.Load())
		}
		source.applied.Store(100)
		time.Sleep(time.Second)
		n := source.asked.Load()
		if l.marks.count() != 0 {
			t.Errorf("%d subjects are still pinned", l.marks.count())
		}
		time.Sleep(time.Minute)
		if source.asked.Load() != n {
			t.Error("goes on asking with nobody waiting")
		}
		write(l.marks, "again")
		time.Sleep(time.Second)
		if l.marks.count() != 0 {
			t.Error("does not begin again")
		}
		cancel()
		p.loops.close()
	})
}

func TestReadYourOwnWrite(t *testing.T) {
	source := &scripted{}
	source.written.Store(10)
	inside, release := make(chan struct{}, 1), make(chan struct{})
	s := serve(t, state(1, capability.Legacy, capability.Whole), func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			inside <- struct{}{}
			<-release
		}
	}, nil, func(o *Options, _ *capability.Document) { o.Marks = source })
	s.want(s.get("/api/orders/1", "ann"), 200, "extracted")
	written := make(chan answer)
	go func() { written <- s.do("POST", "/api/orders/1", "ann", strings.NewReader("x")) }()
	<-inside
	s.want(s.get("/api/orders/1", "ann"), 200, "legacy") // while the write is in flight
	s.want(s.get("/api/orders/1", "bob"), 200, "extracted")
	close(release)
	s.want(<-written, 200, "legacy")
	before := source.asked.Load()
	eventually(t, "a question after the write", func() bool { return source.asked.Load() > before+1 })
	s.want(s.get("/api/orders/1", "ann"), 200, "legacy")
	source.applied.Store(10)
	eventually(t, "the subject is free", func() bool { return s.get("/api/orders/1", "ann").header.Get("X-Served-By") == "extracted" })
}

// A write whose answer never comes may have happened all the same.
func TestWriteThatTimesOutPins(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, state(1, capability.Legacy, capability.Whole), func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			<-release
		}
	}, nil, func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 20 * time.Millisecond })
	defer close(release)
	a := s.do("POST", "/api/orders/1", "ann", nil)
	s.want(a, 504, "")
	s.want(s.get("/api/orders/1", "ann"), 200, "legacy")
	if now, _ := s.serving("orders"); now.Writes != 0 {
		t.Errorf("still in flight: %+v", now)
	}
}

// A client that goes away does not end its write: it stays counted until the
// side has answered.
func TestWriteOfAClientThatWentStaysCounted(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	s := serve(t, state(1, capability.Legacy, capability.Whole), func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "DELETE" {
			inside <- struct{}{}
			<-release
			if r.Context().Err() != nil {
				t.Error("the write was broken off")
			}
		}
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "DELETE", s.url+"/api/orders/1", nil)
	r.Header.Set("X-User", "ann")
	gone := make(chan answer)
	go func() { gone <- s.send(r) }()
	<-inside
	cancel()
	<-gone
	s.want(s.get("/api/orders/1", "ann"), 200, "legacy")
	if now, _ := s.serving("orders"); now.Writes != 1 {
		t.Errorf("not counted: %+v", now)
	}
	close(release)
	eventually(t, "the write has ended", func() bool { now, _ := s.serving("orders"); return now.Writes == 0 })
	s.want(s.get("/api/orders/1", "ann"), 200, "legacy")
}

func TestWriteThatWasNeverSentPinsNobody(t *testing.T) {
	s := serve(t, state(1, capability.Extracted, 5000), nil, nil, extractedAt(nobody(t)))
	user := subjectOn(t, capability.Legacy, 5000)
	s.want(s.do("POST", "/api/orders/1", user, nil), 503, "")
	s.want(s.get("/api/orders/1", user), 200, "legacy")
}
