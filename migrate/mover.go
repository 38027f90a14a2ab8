package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"strangler/capability"
)

// Options say what a Mover moves.
type Options struct {
	Document  capability.Document // with its data section
	Legacy    Database
	Extracted Database
	Gates     Gates
	Fence     uint64 // token of this controller
	// SnapshotAge is for how long a backfill or a comparison uses one snapshot, which
	// holds vacuum back; 0: thirty minutes.
	SnapshotAge time.Duration
	// SuspectAge is how long a row has to differ, with nothing on its way, before a
	// comparison without snapshots says so; zero is thirty seconds.
	SuspectAge time.Duration
	// ChunkBytes is about how much a backfill copies in one transaction, by what the
	// source has on disk; 0: 48 MB.
	ChunkBytes int64
	// Restraint is what the mover spares its databases.
	Restraint capability.Restraint
	// RetainEvery is how often it asks what they keep for it; 0: every five seconds.
	RetainEvery time.Duration
	Log         *slog.Logger
}

// Mover brings the tables of one capability into the extracted database and
// keeps both sides equal until the capability is retired. It owns the order of
// that work and does none of it itself. Run does the moving; the other methods
// may be called at any time, by anyone, and those that need the streams return
// ErrNotFollowing while they do not run.
type Mover struct {
	Options
	databases map[capability.Side]Database
	captures  map[capability.Side]Capture            // chosen by Run, and read by what it calls
	kinds     map[capability.Side]capability.Capture // theirs
	log       *slog.Logger
	throttle  *throttle
	retention retention

	running sync.Mutex // held by Run

	mu        sync.Mutex
	phase     capability.MovePhase     // guarded by mu
	failure   string                   // why Run ended by itself; guarded by mu
	progress  *tally                   // of the last backfill; guarded by mu
	verified  *capability.VerifyStatus // guarded by mu
	stopped   *verification            // one that can be gone on with; guarded by mu
	building  *building                // of the last completion; guarded by mu
	catching  *Stream                  // runs ahead of the building; guarded by mu
	following *following               // nil while the streams do not run; guarded by mu
	warning   string                   // what it will wait for; guarded by mu
	conflict  *ConflictError           // at which the last streams have ended, or nil; guarded by mu
	unequal   []unequal                // what the last comparison told of; guarded by mu
	recovered int64                    // rows that a recovery has mended, not told yet; guarded by mu
}

// ErrNotFollowing is returned by what needs the streams while they do not run.
var ErrNotFollowing = errors.New("the streams do not run; strangler data status says why")

// NewMover returns a mover that does nothing yet.
func NewMover(o Options) *Mover {
	databases := map[capability.Side]Database{capability.Legacy: o.Legacy, capability.Extracted: o.Extracted}
	return &Mover{Options: o, log: o.Log.With("capability", o.Document.Name), phase: capability.PhaseNone, databases: databases,
		throttle: newThrottle(o.Restraint, databases), retention: retention{now: map[capability.Side]Retention{}}}
}

// Run takes the move from where it stands to where both streams run, and keeps
// them running until ctx ends; then it returns nil. Whatever has ended an earlier
// Run, of this process or another one, it goes on from what that has finished, as
// long as the forward stream is there. Any error ends Run; calling it again is safe.
// One Run at a time.
func (m *Mover) Run(ctx context.Context) error {
	if !m.running.TryLock() {
		return errors.New("the mover runs already")
	}
	defer m.running.Unlock()
	m.enter(capability.PhasePreparing)
	err := m.run(ctx)
	m.clashed(err)
	if ctx.Err() != nil {
		m.enter(capability.PhasePaused)
		return nil
	}
	m.fail(err)
	return err
}

func (m *Mover) run(ctx context.Context) error {
	l, err := survey(ctx, m.Document, m.Legacy, m.Extracted)
	if err != nil {
		return err
	}
	move, found, err := m.Extracted.Move(ctx, m.Document.Name)
	if err != nil {
		return err
	}
	if found { // by an earlier version, perhaps
		if err := m.Extracted.Install(ctx); err != nil {
			return err
		}
	}
	if found && move.Phase == capability.PhaseFailed {
		return &HaltError{Reason: fmt.Sprintf("the copy of %s was given up, because its source kept too much for it", m.Document.Name), Mend: givenUpMend(m.Document.Name)}
	}
	if found && move.Phase == capability.PhaseRetiring {
		return fmt.Errorf("%s is being retired; finish it with: strangler retire %s", m.Document.Name, m.Document.Name)
	}
	if err := m.choose(ctx, &move); err != nil {
		return err
	}
	return m.retained(ctx, func(ctx context.Context) error { return m.bring(ctx, l, move, found) })
}

// bring takes the move to where both streams run, and keeps them running.
func (m *Mover) bring(ctx context.Context, l layout, move Move, found bool) (err error) {
	var r record
	switch {
	case found && move.Phase == capability.PhaseRepairing:
		if err := m.recover(ctx, l, move); err != nil {
			return err
		}
	case found && move.Phase == capability.PhaseFollowing:
		if r, err = m.resume(ctx, l, move); err != nil {
			return err
		}
	default:
		if l, err = m.begin(ctx, move, found); err != nil {
			return err
		}
	}
	if r.Pairs == nil {
		r.Pairs = l.pairs
	}
	if err := m.prepareReverse(ctx, r.Pairs); err != nil {
		return err
	}
	return m.followAlong(ctx, r)
}

// resume returns the tables of a move that has followed, as they are to be followed
// from here on.
func (m *Mover) resume(ctx context.Context, l layout, move Move) (record, error) {
	r, found, err := move.recorded()
	if err != nil {
		return r, err
	}
	if found {
		return m.adapt(ctx, r, nil)
	}
	// An earlier version has not written them down.
	if err := m.unchanged(l, move); err != nil {
		return r, err
	}
	r = record{Pairs: l.pairs}
	return r, m.keep(ctx, r)
}

// unchanged refuses to go on with tables or a mapping that are not those that
// the move began with.
func (m *Mover) unchanged(l layout, move Move) error {
	if len(l.problems) > 0 {
		return fmt.Errorf("the tables of %s cannot be followed any more: %w", m.Document.Name, l.problems[0])
	}
	fingerprint, err := l.fingerprint()
	if err != nil {
		return err
	}
	if fingerprint != move.Fingerprint {
		return fmt.Errorf("tables or mapping of %s have changed since the move began; change them back, or take the move back with: strangler data reset %s", m.Document.Name, m.Document.Name)
	}
	return nil
}

func (m *Mover) enter(phase capability.MovePhase) {
	m.mu.Lock()
	from := m.phase
	m.phase, m.failure = phase, ""
	m.mu.Unlock()
	if from != phase {
		m.log.Info("move", "from", string(from), "to", string(phase))
	}
}

func (m *Mover) fail(err error) {
	if err == nil {
		return
	}
	m.enter(capability.PhaseFailed)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = err.Error()
}

// Status tells where the move stands, without the gates. It asks nobody.
func (m *Mover) Status() capability.DataStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := capability.DataStatus{Phase: m.phase, Error: cmp.Or(m.failure, m.warning)}
	if m.progress != nil {
		backfill := m.progress.status()
		if kept, known := m.retention.of(capability.Legacy); known {
			backfill.Retained = kept.Bytes
		}
		s.Backfill = &backfill
	}
	if m.building != nil && m.phase == capability.PhaseCompleting {
		completion := m.building.status()
		s.Completion = &completion
	}
	if m.catching != nil {
		status := m.catching.Status()
		if kept, known := m.retention.of(status.From); known {
			status.Retained, status.Headroom = kept.Bytes, kept.Headroom
		}
		s.Streams = append(s.Streams, status)
	}
	if m.verified != nil {
		verified := *m.verified
		s.Verify = &verified
	}
	if f := m.following; f != nil {
		for _, side := range capability.Sides {
			if d, ok := f.directions[side]; ok {
				status := d.stream.Status()
				status.Changed = d.recheck.unverified()
				if kept, known := m.retention.of(side); known {
					status.Retained, status.Headroom = kept.Bytes, kept.Headroom
				}
				s.Streams = append(s.Streams, status)
				if text := d.recheck.complaint(); text != "" {
					s.Error = text
				}
			}
		}
	}
	return s
}

// Plan tells what the move will do and what stands against it. It changes
// nothing.
func (m *Mover) Plan(ctx context.Context) (Plan, []capability.Problem, error) {
	plan, problems, err := newPlan(ctx, m.Document, m.Legacy, m.Extracted)
	if err != nil {
		return plan, nil, fmt.Errorf("plan %s: %w", m.Document.Name, err)
	}
	return plan, problems, nil
}

// DDL returns the statements that make the tables and the named sequences that the
// extracted database lacks, from the definitions of the legacy ones.
func (m *Mover) DDL(ctx context.Context) (DDL, error) {
	l, err := survey(ctx, m.Document, m.Legacy, m.Extracted)
	if err != nil {
		return DDL{Statements: []string{}}, err
	}
	if len(l.missing) > 0 && len(l.unread) > 0 { // columns would be missing, and made never
		return DDL{}, l.unread[0]
	}
	return m.define(ctx, l)
}

// define returns the statements for tables and named sequences that the extracted
// database lacks.
func (m *Mover) define(ctx context.Context, l layout) (DDL, error) {
	var from, to []Relation
	for _, s := range m.Document.Data.Sequences {
		from, to = append(from, ParseRelation(s.Sequence)), append(to, ParseRelation(s.On(capability.Extracted)))
	}
	there, err := m.Extracted.NamedSequences(ctx, to)
	if err != nil {
		return DDL{Statements: []string{}}, err
	}
	here, err := m.Legacy.NamedSequences(ctx, from)
	if err != nil {
		return DDL{Statements: []string{}}, err
	}
	var renamed []Renamed
	for i, as := range to {
		is := func(r Relation) func(Sequence) bool { return func(s Sequence) bool { return s.Relation == r } }
		if at := slices.IndexFunc(here, is(from[i])); at >= 0 && !slices.ContainsFunc(there, is(as)) {
			renamed = append(renamed, Renamed{here[at], as})
		}
	}
	if len(l.missing)+len(renamed) == 0 {
		return DDL{Statements: []string{}}, nil
	}
	return m.Legacy.Define(ctx, l.all, renamed...)
}

// Create makes the tables and sequences that the extracted database lacks, all or none, and
// returns what it has executed.
func (m *Mover) Create(ctx context.Context) (DDL, error) {
	ddl, err := m.DDL(ctx)
	if err != nil || len(ddl.Statements) == 0 {
		return ddl, err
	}
	return ddl, m.Extracted.Execute(ctx, ddl.Statements)
}
