package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// reads a row. It blocks for as long as reading takes. Rows that differ are a
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
	v := &verification{mover: m, following: f, owner: from, repair: repair, report: report, began: time.Now(), status: capability.VerifyStatus{Running: true}}
	m.mu.Lock()
	if m.verified != nil && m.verified.Running {
		m.mu.Unlock()
		return capability.VerifyStatus{}, ErrVerifying
	}
	v.status.Repaired, m.recovered = m.recovered, 0
	started := v.status
	m.verified = &started
	m.mu.Unlock()
	bound, done := f.bind(ctx)
	err = v.run(bound, from)
	done()
	status := v.status
	status.Running, status.Took = false, time.Since(v.began)
	if err != nil {
		err = fmt.Errorf("verify %s: %w", m.Document.Name, err)
		status.Error = err.Error()
	} else {
		status.FinishedAt = time.Now()
	}
	m.show(f, status)
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
	status    capability.VerifyStatus
}

// run compares the tables by the stream that keeps them equal: all in one go
// while legacy owns, the reference copies by themselves while extracted does.
func (v *verification) run(ctx context.Context, from capability.Side) error {
	all := v.following.layout.pairs
	copies := slices.DeleteFunc(slices.Clone(all), func(p Pair) bool { return p.Mode != capability.Copy })
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

// group compares tables of one direction, at one position.
func (v *verification) group(ctx context.Context, from capability.Side, pairs []Pair) (err error) {
	d, ok := v.following.directions[from]
	if !ok {
		return ErrNotFollowing
	}
	hold, err := d.stream.Hold()
	if err != nil {
		return err
	}
	defer hold.Release()
	source, target, err := v.snapshots(ctx, d, hold)
	if err != nil {
		return err
	}
	if !v.repair { // what is repaired is repaired at this position
		hold.Release()
	}
	defer func() {
		err = errors.Join(err, source.Close(), target.Close())
		if err != nil {
			v.unknown()
		}
	}()
	for _, m := range mappings(pairs, from) {
		extra, skipped := generated(m.Pair, v.mover.Document)
		v.status.Skipped = append(v.status.Skipped, skipped...)
		if err := v.pair(ctx, d, source, target, newComparison(m, from, extra)); err != nil {
			return err
		}
	}
	return nil
}

// snapshots opens both sides at the same position, and forgets which rows have
// changed before it.
func (v *verification) snapshots(ctx context.Context, d *direction, hold *Hold) (source, target Reader, err error) {
	snapshot, err := d.source.TemporarySnapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }() // imported by then
	if source, err = d.source.OpenRows(ctx, snapshot.Name); err != nil {
		return nil, nil, err
	}
	if err = hold.At(ctx, snapshot.Position); err == nil {
		target, err = d.target.OpenRows(ctx, "")
	}
	if err != nil {
		return nil, nil, errors.Join(err, source.Close())
	}
	v.status.Position = snapshot.Position
	for side, other := range v.following.directions {
		// The other direction has nothing of its own while its source is sealed. But
		// that of the owner has gone on when the copies are compared after it.
		if side == d.from || d.from == v.owner {
			other.stream.Changed().Reset()
		}
	}
	return source, target, nil
}

// unknown gives up on counting single rows until the next verification.
func (v *verification) unknown() {
	for _, d := range v.following.directions {
		d.stream.Changed().Overflow()
	}
}

// pair compares one table, and repairs it where that is asked for.
func (v *verification) pair(ctx context.Context, d *direction, source, target Reader, c comparison) (err error) {
	if !v.repair {
		return v.table(ctx, source, target, c)
	}
	if c.repair, err = d.target.OpenRepair(ctx, v.mover.Document.Name, d.from, c.mapping); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.repair.Close()) }()
	if err := v.table(ctx, source, target, c); err != nil {
		return err
	}
	return c.repair.Commit(ctx)
}

// table compares one table.
func (v *verification) table(ctx context.Context, source, target Reader, c comparison) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	here, stopHere := ordered(ctx, source, c.mapping.From.Relation, c.from, keyColumns(c.mapping.FromKey, c.mapping.From))
	there, stopThere := ordered(ctx, target, c.mapping.To.Relation, c.to, keyColumns(c.mapping.ToKey, c.mapping.To))
	name := c.mapping.Pair.Legacy.Relation.String()
	err := c.merge(here, there, func() { v.row(name) }, func(m capability.Mismatch) {
		v.status.Count++
		if len(v.status.Mismatches) < mismatchesShown {
			v.status.Mismatches = append(v.status.Mismatches, m)
		}
	})
	err = errors.Join(err, stopHere(), stopThere())
	if err != nil {
		return fmt.Errorf("compare %s: %w", name, err)
	}
	return nil
}

// ordered reads a table in a goroutine of its own. The returned function ends
// it, waits, and returns what went wrong, if the reading was not cut short.
func ordered(ctx context.Context, r Reader, from Relation, columns []string, key []KeyColumn) (io.Reader, func() error) {
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := r.Ordered(ctx, writer, from, columns, key)
		writer.CloseWithError(err)
		done <- err
	}()
	return reader, func() error {
		// After a whole read this changes nothing; after half of one it ends the COPY.
		reader.CloseWithError(io.ErrClosedPipe)
		if err := <-done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return err
		}
		return nil
	}
}

func (v *verification) row(table string) {
	v.status.Rows++
	if v.status.Rows%1024 != 0 || time.Since(v.reported) < reportEvery {
		return
	}
	v.reported = time.Now()
	v.mover.show(v.following, v.status)
	if v.report != nil {
		v.report(capability.Progress{State: "started", Message: "comparing " + table, Done: v.status.Rows, Total: v.status.Total, Took: time.Since(v.began)})
	}
}

// generated lists the columns that both sides compute, which are compared though
// they are not moved, and names those that are on one side only.
func generated(p Pair, doc capability.Document) (both []ColumnPair, skipped []string) {
	var renames map[string]string
	for _, t := range doc.Data.Tables {
		if ParseRelation(t.Table) == p.Legacy.Relation {
			renames = t.Columns
		}
	}
	compared := map[string]bool{}
	for _, c := range p.Columns {
		compared[c.Extracted] = true
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
		if _, ok := p.Extracted.Column(as); ok {
			both, compared[as] = append(both, ColumnPair{c.Name, as}), true
		} else {
			skipped = append(skipped, fmt.Sprintf("%s.%s: only in legacy", p.Legacy.Relation, c.Name))
		}
	}
	for _, c := range p.Extracted.Columns {
		if !compared[c.Name] {
			skipped = append(skipped, fmt.Sprintf("%s.%s: only in extracted", p.Extracted.Relation, c.Name))
		}
	}
	return both, skipped
}
