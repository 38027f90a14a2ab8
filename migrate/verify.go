package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strangler/capability"
)

const (
	mismatchesShown = 100
	reportEvery     = 500 * time.Millisecond
)

// ErrVerifying is returned while another verification runs.
var ErrVerifying = errors.New("a verification runs already")

// Verify compares every row of every table on both sides, exactly, while both
// are in use: from is the side that owns. It stops the stream at a snapshot of
// the source, opens one of the target there, and lets the stream go on before it
// reads a row. Where the source has no such snapshot to give within ten seconds, the
// target is read a moment later than the source, and what differs then is read again
// until it is equal, or has differed for long with no change on its way. After
// thirty minutes it takes other snapshots, so that no vacuum
// waits for long. It blocks for as long as reading takes. One that is stopped by
// ctx is gone on with by the next, while the streams run. Rows that differ are a
// result and no error.
func (m *Mover) Verify(ctx context.Context, from capability.Side, report func(capability.Progress)) (capability.VerifyStatus, error) {
	return m.compare(ctx, from, false, report)
}

// compare is Verify, or with repair set Repair without its second look.
func (m *Mover) compare(ctx context.Context, from capability.Side, repair bool, report func(capability.Progress)) (capability.VerifyStatus, error) {
	f, err := m.followed()
	if err != nil {
		return capability.VerifyStatus{}, err
	}
	m.mu.Lock()
	if m.verified != nil && m.verified.Running {
		m.mu.Unlock()
		return capability.VerifyStatus{}, ErrVerifying
	}
	v := m.stopped
	if m.stopped = nil; v == nil || repair || v.following != f || v.owner != from || v.lost() {
		v = &verification{mover: m, following: f, owner: from, repair: repair, places: map[capability.Side]*place{}}
	}
	v.report, v.began = report, time.Now()
	v.status.Running = true
	if m.recovered > 0 {
		v.status.Repaired, m.recovered = m.recovered, 0
	}
	started := v.status
	m.verified = &started
	m.mu.Unlock()
	bound, done := f.bind(ctx)
	err = v.run(bound, from)
	done()
	status := v.status
	status.Running, status.Took = false, time.Since(v.began)
	if ctx.Err() != nil && !repair {
		m.mu.Lock()
		m.stopped = v
		m.mu.Unlock()
	}
	if err != nil {
		err = fmt.Errorf("verify %s: %w", m.Document.Name, err)
		status.Error = err.Error()
	} else {
		status.FinishedAt = time.Now()
	}
	m.show(f, status)
	m.differ(f, v.unequal)
	if err == nil && status.Count == 0 {
		err = m.remember(ctx, status.FinishedAt)
	}
	return status, err
}

// show publishes a status, unless the streams that it is about are gone.
func (m *Mover) show(f *following, status capability.VerifyStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.following == f:
		m.verified = &status
	case m.verified != nil && m.verified.Running:
		m.verified = nil
	}
}

// differ keeps the rows that differ for whoever asks for them.
func (m *Mover) differ(f *following, rows []unequal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.following == f {
		m.unequal = rows
	}
}

func (m *Mover) remember(ctx context.Context, at time.Time) error {
	move, found, err := m.Extracted.Move(ctx, m.Document.Name)
	if err != nil || !found {
		return err
	}
	move.VerifiedAt = at
	return m.Extracted.SaveMove(ctx, m.Document.Name, move)
}

// verification is one run of Verify.
type verification struct {
	mover     *Mover
	following *following
	owner     capability.Side
	repair    bool // rows that differ are made those of the source
	report    func(capability.Progress)
	began     time.Time
	reported  time.Time
	places    map[capability.Side]*place
	apart     error // why both sides cannot be read at one position, or nil
	postponed int   // rows that never kept still
	status    capability.VerifyStatus
	unequal   []unequal // the rows of status.Mismatches
}

// at is how far the comparison of one direction has come.
func (v *verification) at(from capability.Side) *place {
	if v.places[from] == nil {
		v.places[from] = &place{}
	}
	return v.places[from]
}

// lost says whether it is not known any more what has changed behind it.
func (v *verification) lost() bool {
	return v.following.directions[v.owner].stream.Changed().Overflowed()
}

// run compares the tables by the stream that keeps them equal: all in one go
// while legacy owns, the reference copies by themselves while extracted does.
func (v *verification) run(ctx context.Context, from capability.Side) error {
	all := v.following.layout.pairs
	copies := slices.DeleteFunc(slices.Clone(all), func(p Pair) bool { return p.Mode != capability.Copy })
	v.status.Total = 0
	for _, p := range all {
		v.status.Total += p.On(from).Rows
	}
	if from == capability.Legacy {
		return v.group(ctx, capability.Legacy, all)
	}
	if err := v.group(ctx, from, v.following.layout.moved()); err != nil || len(copies) == 0 {
		return err
	}
	return v.group(ctx, capability.Legacy, copies)
}

// computes says whether one of two columns is filled by an expression.
func (p Pair) computes(legacy, extracted string) bool {
	return contains(p.Reverse, legacy) || contains(p.Forward, extracted)
}

// generated is generated of the mapping's pair. Whole rows, which only a repair looks
// at, are written without such columns; a verification compares those of each half.
func (m Mapping) generated(doc capability.Document) (both []ColumnPair, skipped []string) {
	both, skipped = generated(m.Pair, doc)
	if m.Halves != nil {
		both = nil
	}
	return both, skipped
}

// generated lists the columns that both sides compute, which are compared though
// they are not moved, and names those that are on one side only.
func generated(p Pair, doc capability.Document) (both []ColumnPair, skipped []string) {
	var renames map[string]string
	for _, t := range doc.Data.Tables {
		if ParseRelation(t.Table) == p.Legacy.Relation && ParseRelation(renamedTable(t)) == p.Extracted.Relation {
			renames = t.Columns
		}
	}
	compared := map[string]bool{}
	for _, c := range p.Columns {
		compared[c.Extracted] = true
	}
	for _, c := range p.Forward {
		compared[c.Column] = true
	}
	moved := map[string]bool{}
	for _, c := range p.Columns {
		moved[c.Legacy] = true
	}
	for _, c := range p.Legacy.Columns {
		if moved[c.Name] {
			continue
		}
		as := c.Name
		if renamed, ok := renames[c.Name]; ok {
			as = renamed
		}
		to, ok := p.Extracted.Column(as)
		switch {
		case ok && !p.computes(c.Name, as) && (c.Generated || to.Generated):
			both, compared[as] = append(both, ColumnPair{c.Name, as}), true
		case contains(p.Reverse, c.Name) || inputs(p.Forward, c.Name) || slices.Contains(p.Elsewhere, c.Name):
			// Compared by what is computed from it, or with the other part of the table.
		default:
			skipped = append(skipped, fmt.Sprintf("%s.%s: only in legacy", p.Legacy.Relation, c.Name))
		}
	}
	for _, c := range p.Extracted.Columns {
		if !compared[c.Name] && !slices.Contains(p.Beside, c.Name) { // which is compared with the other half
			skipped = append(skipped, fmt.Sprintf("%s.%s: only in extracted", p.Extracted.Relation, c.Name))
		}
	}
	return both, skipped
}
