package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// TestARandomWorkload moves random tables there and back while applications write
// to whoever owns them, and kills the mover again and again. In the end both sides
// are equal, and everything that was acknowledged is there.
//
// `make random` does that for longer. STRANGLER_RANDOM is for how long new workloads are drawn (5m; without it, one for
// each way of reading changes). STRANGLER_RANDOM_SEED draws one again: its tables,
// its statements and the moments of its kills. What the sessions do to one another
// is chance, so that a seed may have to be tried some times.
func TestARandomWorkload(t *testing.T) { inEachCapture(t, testARandomWorkload) }

func testARandomWorkload(t *testing.T, kind capability.Capture) {
	period, err := time.ParseDuration(cmp.Or(os.Getenv("STRANGLER_RANDOM"), "0s"))
	if err != nil {
		t.Fatalf("STRANGLER_RANDOM is for how long, such as 5m: %v", err)
	}
	given, err := strconv.ParseUint(cmp.Or(os.Getenv("STRANGLER_RANDOM_SEED"), "0"), 10, 64)
	if err != nil {
		t.Fatalf("STRANGLER_RANDOM_SEED is the number that a test has told: %v", err)
	}
	began := time.Now()
	for first := true; first || time.Since(began) < period; first = false {
		seed := cmp.Or(given, rand.Uint64()>>16)
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { testRandomSeed(t, kind, seed) }) {
			t.Logf("again: STRANGLER_RANDOM_SEED=%d go test -run 'TestARandomWorkload/%s' ./internal/postgres", seed, kind)
			return
		}
	}
}

// workload is one seed's.
type workload struct {
	*migration
	r        *rand.Rand
	schema   randomSchema
	fence    uint64
	switches int
	dead     int // movers
}

func testRandomSeed(t *testing.T, kind capability.Capture, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	schema := newRandomSchema(r)
	m := newMigration(t, kind, schema.ddl, schema.data)
	w := &workload{migration: m, r: r, schema: schema, fence: 1}
	m.chunkBytes = 32 << 10
	document, err := json.Marshal(schema.data)
	m.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d: %d switches, %d dead movers; tables:\n%s\ndocument:\n%s", seed, w.switches, w.dead, schema.ddl, document)
		}
	})
	m.exec(capability.Legacy, w.rows())
	m.created()
	if _, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 {
		t.Fatalf("seed %d: the plan: %v, %v", seed, problems, err)
	}
	writers, stop := w.writers(seed)
	w.harass(capability.PhaseFollowing)
	for range 1 + r.IntN(3) {
		w.switched()
		if r.IntN(2) == 0 {
			w.harass("")
		}
	}
	end := w.leads()
	stop()
	legacy, extracted, err := m.gates.Read(t.Context())
	m.must(err)
	owner := capability.Decide(legacy, extracted).Owner
	m.settled(owner)
	m.settled(capability.Legacy) // the reference table's
	m.verify(owner, 0)
	w.equal()
	for _, writer := range writers {
		w.acknowledged(writer, owner)
		if t.Failed() {
			t.Logf("last statements of writer %d:\n%s", writer.id, strings.Join(writer.recent(historyKept), "\n"))
		}
	}
	if s := m.Status(); s.Error != "" {
		t.Errorf("status: %s", s.Error)
	}
	end()
}

// rows fills the tables.
func (w *workload) rows() string {
	var b strings.Builder
	for _, t := range w.schema.tables {
		n := []int{0, 3, 300, 1500}[w.r.IntN(4)]
		b.WriteString(t.insert(w.r, capability.Legacy, 1).sql + ";\n")
		for _, rows := range []int{n / 3, n - n/3} {
			b.WriteString("DO $do$ BEGIN " + t.insert(w.r, capability.Legacy, rows).sql + "; EXCEPTION WHEN unique_violation THEN NULL; END $do$;\n")
		}
	}
	return b.String() + "ANALYZE"
}

// writers start to write.
func (w *workload) writers(seed uint64) (all []*randomWriter, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for id := range 2 + w.r.IntN(2) {
		writer := &randomWriter{t: w.t, m: w.migration, schema: w.schema, id: id, side: capability.Legacy, r: rand.New(rand.NewPCG(seed, uint64(1+id)))} //nolint:gosec // small
		all = append(all, writer)
		group.Go(func() { writer.run(ctx) })
	}
	group.Go(func() { // the owner of what is copied
		for n := 0; ctx.Err() == nil; n++ {
			if err := w.try(capability.Legacy, fmt.Sprintf("INSERT INTO reference VALUES (%d, %d, repeat('r', %[2]d %% 999)) ON CONFLICT (slot) DO UPDATE SET n = excluded.n, body = excluded.body", n%ledgerSlots, n)); err != nil {
				w.t.Errorf("reference: %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); group.Wait() }) }
	w.t.Cleanup(stop)
	return all, stop
}

// harass starts movers and kills them: processes with SIGKILL, and movers of this
// process by what they depend on. It does so some times, and where a phase is named,
// until that is reached.
func (w *workload) harass(until capability.MovePhase) {
	w.t.Helper()
	for n := 1 + w.r.IntN(4); n > 0 || until != "" && w.phase() != until; n-- {
		w.fence++
		life := time.Duration(100+w.r.IntN(2500)) * time.Millisecond
		if n < -3 { // now it may come to an end
			end := w.runs(w.mover(w.schema.data, w.fence))
			w.lives(2*time.Minute, until, nil)
			end()
			if w.phase() != until {
				w.t.Fatalf("it never ends: %+v", w.move())
			}
			return
		}
		w.dead++
		if w.r.IntN(2) == 0 {
			w.killed(life, until)
		} else {
			w.abandoned(life, until)
		}
	}
}

func (w *workload) phase() capability.MovePhase {
	move, found, err := w.databases[capability.Extracted].Move(w.t.Context(), w.name)
	if err != nil || !found {
		return ""
	}
	return move.Phase
}

// lives waits for as long as a mover lives, or for long enough.
func (w *workload) lives(life time.Duration, until capability.MovePhase, gone <-chan struct{}) {
	for deadline := time.Now().Add(life); time.Now().Before(deadline); {
		select {
		case <-gone:
			return
		case <-time.After(min(200*time.Millisecond, time.Until(deadline))):
		}
		if life > time.Minute && w.phase() == until {
			return
		}
	}
}

// killed runs a mover in a process of its own, which it kills.
func (w *workload) killed(life time.Duration, until capability.MovePhase) {
	w.t.Helper()
	child := w.process(w.fence, w.schema.data)
	w.lives(life, until, child.Done())
	select {
	case <-child.Done():
		w.t.Fatalf("the mover's process ended by itself: %v", child.Err())
	default:
	}
	if err := child.Kill(); err != nil {
		w.t.Log(err)
	}
}

// abandoned runs a mover whose sessions are ended now and then.
func (w *workload) abandoned(life time.Duration, until capability.MovePhase) {
	w.t.Helper()
	end := w.runs(w.mover(w.schema.data, w.fence))
	gone := make(chan struct{})
	for range 1 + w.r.IntN(3) {
		w.lives(life/2, until, gone)
		w.exec(capability.Sides[w.r.IntN(2)], `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'strangler%' AND random() < 0.5`)
	}
	end()
}

// runs lets a mover run, again and again, as a controller does. What stops it for
// good fails the test.
func (w *workload) runs(mover *migrate.Mover) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := mover.Run(ctx)
			var halt *migrate.HaltError
			var conflict *migrate.ConflictError
			if errors.As(err, &halt) || errors.As(err, &conflict) {
				w.t.Errorf("the mover has stopped: %v", err)
				return
			}
			if err != nil {
				w.t.Log(err)
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		}
	}()
	var once sync.Once
	end = func() { once.Do(func() { cancel(); <-done }) }
	w.t.Cleanup(end)
	return end
}

// leads runs the mover that everything is asked of, and waits until both streams
// are live.
func (w *workload) leads() (end func()) {
	w.t.Helper()
	w.fence++
	w.Mover = w.mover(w.schema.data, w.fence)
	end = w.runs(w.Mover)
	w.eventually("both streams are live", func() (bool, string) {
		if w.t.Failed() {
			w.t.FailNow()
		}
		s := w.Status()
		live := 0
		for _, stream := range s.Streams {
			if stream.Live {
				live++
			}
		}
		return live == 2, fmt.Sprintf("%+v", s)
	})
	return end
}

// switched changes the owner, while everybody goes on writing. What is undone is
// tried again, as an operator does.
func (w *workload) switched() {
	w.t.Helper()
	end := w.leads()
	defer end()
	legacy, extracted, err := w.gates.Read(w.t.Context())
	w.must(err)
	from := capability.Decide(legacy, extracted).Owner
	var undone error
	for range 20 {
		if w.t.Failed() {
			w.t.FailNow()
		}
		if v, err := w.Verify(w.t.Context(), from, nil); err != nil {
			w.t.Logf("verify: %v", err)
			continue
		} else if v.Count > 0 {
			w.t.Fatalf("%d rows differ: %+v", v.Count, v)
		}
		w.calm(from)
		if undone = w.trySwitch(from); undone == nil {
			w.switches++
			return
		}
		w.t.Logf("undone: %v", undone)
	}
	w.t.Fatalf("it never switches: %v", undone)
}

// calm waits for a while until few rows are left to compare.
func (w *workload) calm(from capability.Side) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && w.UnverifiedKeys(from) > 300; {
		time.Sleep(5 * time.Millisecond)
	}
}

// trySwitch is switchTo, which undoes what fails before the commit point.
func (w *workload) trySwitch(from capability.Side) error {
	w.t.Helper()
	ctx, to := w.t.Context(), from.Other()
	gate := func(side capability.Side) capability.Gate {
		legacy, extracted, err := w.gates.Read(ctx)
		w.must(err)
		if side == capability.Legacy {
			return legacy
		}
		return extracted
	}
	_, closing, err := capability.Next(gate(from), gate(to), capability.EventClose)
	w.must(err)
	nonce := fmt.Sprint("nonce ", w.r.Uint64())
	w.eventually("the gate closes", func() (bool, string) {
		err := w.gates.Close(ctx, from, gate(from).Epoch, closing, time.Minute, nonce)
		if errors.Is(err, capability.ErrBusy) {
			return false, err.Error()
		}
		w.must(err)
		return true, ""
	})
	undo := func(err error) error {
		_, open, next := capability.Next(gate(from), gate(to), capability.EventOpen)
		w.must(next)
		w.must(w.gates.Open(ctx, from, gate(from).Epoch, open))
		return err
	}
	if err := w.WaitMarker(ctx, from, nonce); err != nil {
		return undo(err)
	}
	mismatches, err := w.VerifyChanged(ctx, from)
	if len(mismatches) > 0 {
		w.equal()
		w.t.Fatalf("rows differ: %+v", mismatches)
	}
	if err != nil {
		return undo(err)
	}
	if w.r.IntN(4) == 0 {
		return undo(errors.New("by chance"))
	}
	w.must(w.CarrySequences(ctx, from, w.Document.Data))
	w.must(w.gates.Seal(ctx, from, closing))
	_, open, err := capability.Next(gate(to), gate(from), capability.EventOpen)
	w.must(err)
	w.must(w.gates.Open(ctx, to, gate(to).Epoch, open))
	return nil
}

// equal compares both sides without the product.
func (w *workload) equal() {
	w.t.Helper()
	for _, t := range w.schema.tables {
		var here, there []string
		for _, c := range t.columns {
			here, there = append(here, strings.Trim(c.names[capability.Legacy], `"`)), append(there, strings.Trim(c.names[capability.Extracted], `"`))
		}
		w.bytewise(t.names[capability.Legacy], t.names[capability.Extracted], here, there)
	}
	for _, name := range []string{"ledger", "reference"} {
		w.bytewiseAsNamed(name)
	}
	if left := ask[int](w.migration, capability.Extracted, `SELECT count(*) FROM strangler.aside`); left != 0 {
		w.t.Errorf("%d things are still set aside", left)
	}
}

// acknowledged holds the owner's ledger against what the writer was told.
func (w *workload) acknowledged(writer *randomWriter, owner capability.Side) {
	w.t.Helper()
	writer.mu.Lock()
	defer writer.mu.Unlock()
	if writer.done == 0 {
		w.t.Errorf("writer %d has committed nothing", writer.id)
	}
	for slot, last := range writer.committed {
		n := ask[int64](w.migration, owner, `SELECT coalesce(max(n), 0) FROM ledger WHERE writer = $1 AND slot = $2`, writer.id, slot)
		fits := n == last
		for _, perhaps := range writer.perhaps[slot] {
			fits = fits || n == perhaps
		}
		if !fits {
			w.t.Errorf("writer %d, slot %d: transaction %d was acknowledged, and the ledger has %d", writer.id, slot, last, n)
		}
	}
	w.t.Logf("writer %d: %d transactions acknowledged", writer.id, writer.done)
}
