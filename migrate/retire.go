package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// Retired is a database that a capability leaves for good.
type Retired interface {
	// Scans counts how often each of the tables has been read since its statistics
	// were reset. It first lets the sessions of ours that are not in use leave, whose
	// own readings would be counted later.
	Scans(ctx context.Context, relations []Relation) ([]Scan, error)
	// Publishers names who else captures the tables: publications, and other
	// capabilities.
	Publishers(ctx context.Context, name string, relations []Relation) ([]string, error)
	// Clashes lists the tables that have no place in the schema of the archive.
	Clashes(ctx context.Context, relations []Relation, schema string) ([]string, error)
	// Archive moves the tables that the capability's gate guards into the schema, all
	// or none, and drops their foreign keys to tables that stay. It returns what it
	// did, a line each: nothing where it is done already.
	Archive(ctx context.Context, name, schema string) ([]string, error)
	// Uninstall removes what the product keeps in the database, unless another
	// capability needs it.
	Uninstall(ctx context.Context) error
}

// Scan is how often one table was read.
type Scan struct {
	Relation   Relation
	Sequential int64 // from its beginning to its end
	Index      int64
}

// settling bounds how long the first reading waits for the mover's own sessions
// to have been counted.
const settling = 10 * time.Second

// ArchiveSchema is the schema of the legacy database that keeps the tables of a
// capability that is retired.
func ArchiveSchema(name string) string {
	return "strangler_archive_" + strings.ReplaceAll(name, "-", "_")
}

// Retiring says whether a retirement has begun and is not finished.
func (m *Mover) Retiring(ctx context.Context) (bool, error) {
	move, found, err := m.Extracted.Move(ctx, m.Document.Name)
	return found && move.Phase == capability.PhaseRetiring, err
}

// Uses lists what still needs the legacy tables, as far as the catalogs tell. It
// fails where the tables could not be archived at all.
func (m *Mover) Uses(ctx context.Context) ([]capability.Use, error) {
	moved, err := m.archived(ctx)
	if err != nil {
		return nil, err
	}
	clashes, err := m.Legacy.Clashes(ctx, moved, ArchiveSchema(m.Document.Name))
	if err != nil {
		return nil, err
	}
	if len(clashes) > 0 {
		return nil, fmt.Errorf("schema %s of the legacy database has no place for: %s; rename what is in the way", ArchiveSchema(m.Document.Name), strings.Join(clashes, ", "))
	}
	var uses []capability.Use
	add := func(kind capability.UseKind, format string, args ...any) {
		uses = append(uses, capability.Use{Kind: kind, What: fmt.Sprintf(format, args...)})
	}
	keys, err := crossingOf(ctx, m.Legacy, moved)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if slices.Contains(moved, k.To) {
			add(capability.UseDependents, "foreign key %s of %s refers to %s", k.Name, k.From, k.To)
		}
	}
	known, err := m.Legacy.Dependents(ctx, moved)
	if err != nil {
		return nil, err
	}
	code, err := m.Legacy.Code(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range neighbours(moved, known, code) {
		if slices.ContainsFunc(moved, func(r Relation) bool { return r.String() == d.On }) {
			continue // a trigger of theirs, which nothing fires any more
		}
		on := ""
		if d.On != "" {
			on = " of " + d.On
		}
		add(capability.UseDependents, "%s %s%s %s %s (%s)", d.Kind, d.Name, on, d.Access, d.Table, d.Found)
	}
	publishers, err := m.Legacy.Publishers(ctx, m.Document.Name, moved)
	if err != nil {
		return nil, err
	}
	for _, p := range publishers {
		add(capability.UseDependents, "%s", p)
	}
	for _, t := range m.Document.Data.Tables {
		if mode(t) == capability.Copy {
			add(capability.UseCopies, "%s is a copy that legacy feeds: it would stay as it is now", renamedTable(t))
		}
	}
	return uses, nil
}

// Watch looks for readers of the legacy tables for the period, and returns those
// that were read. The mover must not run meanwhile, or it would find itself. It
// blocks for the period and for up to ten seconds before.
func (m *Mover) Watch(ctx context.Context, period time.Duration, report func(capability.Progress)) ([]capability.Use, error) {
	moved, err := m.archived(ctx)
	if err != nil {
		return nil, err
	}
	before, err := m.settle(ctx, moved)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	tick := time.NewTicker(min(period, time.Second))
	defer tick.Stop()
	for time.Since(began) < period {
		report(capability.Progress{State: "watching:", Message: fmt.Sprintf("nobody may read the legacy tables, %s of %s", time.Since(began).Round(time.Second), period)})
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
	after, err := m.Legacy.Scans(ctx, moved)
	if err != nil {
		return nil, err
	}
	return read(before, after, period), nil
}

// settle reads the counters until two readings are equal.
func (m *Mover) settle(ctx context.Context, moved []Relation) ([]Scan, error) {
	give := time.Now().Add(settling)
	last, err := m.Legacy.Scans(ctx, moved)
	for err == nil && time.Now().Before(give) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
		var now []Scan
		if now, err = m.Legacy.Scans(ctx, moved); err == nil && slices.Equal(last, now) {
			return now, nil
		}
		last = now
	}
	return last, err
}

// read compares two readings. Counters that went back tell nothing.
func read(before, after []Scan, period time.Duration) []capability.Use {
	var uses []capability.Use
	for _, now := range after {
		i := slices.IndexFunc(before, func(s Scan) bool { return s.Relation == now.Relation })
		was := Scan{}
		if i >= 0 {
			was = before[i]
		}
		sequential, index := now.Sequential-was.Sequential, now.Index-was.Index
		switch {
		case sequential < 0 || index < 0:
			uses = append(uses, capability.Use{Kind: capability.UseScans, What: fmt.Sprintf("the statistics of %s were reset meanwhile: try again", now.Relation)})
		case sequential+index > 0:
			uses = append(uses, capability.Use{Kind: capability.UseScans, What: fmt.Sprintf("%s was read within %s: %d times from its beginning to its end, %d times by an index", now.Relation, period, sequential, index)})
		}
	}
	return uses
}

// archived are the legacy tables that will be, with their partitions.
func (m *Mover) archived(ctx context.Context) ([]Relation, error) {
	var moved []Relation
	for _, t := range m.Document.Data.Tables {
		if mode(t) == capability.Move {
			moved = append(moved, ParseRelation(t.Table))
		}
	}
	moved = distinct(moved)
	partitions, err := m.Legacy.Partitions(ctx, moved, "")
	for _, p := range partitions {
		moved = append(moved, p.Relation)
	}
	return moved, err
}

// Retire ends the move for good while extracted owns: no stream, no gate, and the
// legacy tables in an archive. What it needs to know of the move it leaves, for
// Forget. Run has returned, and refuses to run again from the first step on. It may
// be repeated, whatever has interrupted it. A dry run reports the steps as planned.
func (m *Mover) Retire(ctx context.Context, dry bool, report func(capability.Progress)) error {
	if !dry {
		if !m.running.TryLock() {
			return errors.New("stop the mover before it is retired")
		}
		defer m.running.Unlock()
	}
	name := m.Document.Name
	return m.walk(ctx, dry, report, []stage{
		{"write down that it has begun", m.beginRetirement},
		{"drop the forward stream", func(ctx context.Context) error { return m.dropStream(ctx, capability.Legacy) }},
		{"drop the reverse stream", func(ctx context.Context) error { return m.dropStream(ctx, capability.Extracted) }},
		{"let the logs name rows as before", func(ctx context.Context) error {
			return errors.Join(m.Legacy.Unidentify(ctx, name), m.Extracted.Unidentify(ctx, name))
		}},
		// The legacy gate is sealed until nobody finds the tables any more.
		{"move the legacy tables into schema " + ArchiveSchema(name), m.archive},
		{"drop the legacy gate", func(ctx context.Context) error { return m.Gates.Drop(ctx, capability.Legacy) }},
		{"drop the extracted gate", func(ctx context.Context) error { return m.Gates.Drop(ctx, capability.Extracted) }},
	})
}

// Forget removes the last that both databases know of a capability that is
// retired: the record that there was something to finish goes last.
func (m *Mover) Forget(ctx context.Context, dry bool, report func(capability.Progress)) error {
	return m.walk(ctx, dry, report, []stage{
		{"forget the move in the legacy database", func(ctx context.Context) error { return m.Legacy.Forget(ctx, m.Document.Name) }},
		{"remove what is not needed any more from the legacy database", m.Legacy.Uninstall},
		{"forget the move in the extracted database", func(ctx context.Context) error { return m.Extracted.Forget(ctx, m.Document.Name) }},
		{"remove what is not needed any more from the extracted database", m.Extracted.Uninstall},
	})
}

// stage is one step of a work that may be repeated from its beginning.
type stage struct {
	what string
	do   func(context.Context) error
}

// walk takes the steps, or only tells of them.
func (m *Mover) walk(ctx context.Context, dry bool, report func(capability.Progress), stages []stage) error {
	for _, s := range stages {
		if dry {
			report(capability.Progress{State: "planned", Message: s.what})
			continue
		}
		report(capability.Progress{State: "started", Message: s.what})
		began := time.Now()
		err := context.Cause(ctx)
		if err == nil {
			err = s.do(ctx)
		}
		if err != nil {
			return fmt.Errorf("retire %s: %s: %w; it goes on from there with: strangler retire %s", m.Document.Name, s.what, err, m.Document.Name)
		}
		report(capability.Progress{State: "done", Message: s.what, Took: time.Since(began)})
	}
	return nil
}

// beginRetirement makes every mover from now on refuse to run. A gate that is not
// sealed would let writers into tables that are about to go.
func (m *Mover) beginRetirement(ctx context.Context) error {
	move, found, err := m.Extracted.Move(ctx, m.Document.Name)
	if err != nil || found && move.Phase == capability.PhaseRetiring {
		return err
	}
	legacy, extracted, err := m.Gates.Read(ctx)
	if errors.Is(err, capability.ErrNoGate) && !found {
		return nil // it was finished before
	}
	if err != nil {
		return err
	}
	if v := capability.Decide(legacy, extracted); v.Action != capability.ActionNone || v.Owner != capability.Extracted {
		return fmt.Errorf("extracted does not own %s: %s", m.Document.Name, v.Why)
	}
	if !found {
		return errors.New("there is no record of the move")
	}
	move.Phase = capability.PhaseRetiring
	return m.Extracted.SaveMove(ctx, m.Document.Name, move)
}

func (m *Mover) archive(ctx context.Context) error {
	done, err := m.Legacy.Archive(ctx, m.Document.Name, ArchiveSchema(m.Document.Name))
	for _, line := range done {
		m.log.Info("archive", "did", line)
	}
	return err
}
