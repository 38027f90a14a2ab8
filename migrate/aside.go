package migrate

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"strangler/capability"
)

// builders is how many sessions build indexes at a time.
const builders = 2

// Aside is something that is taken off a table of the target for the time of a
// backfill, or a part of its making again: an index, a constraint, the validation
// of a foreign key.
type Aside struct {
	ID         int64 // of its record
	Pass       int   // all of one are made before any of the next
	Kind       string
	Table      Relation
	Name       string
	Statement  string // makes it again
	Tablespace string // empty: the database's
}

// Asides is a database whose tables are freed of what slows a copy down, or does
// not bear rows from different moments: every index but the primary key's,
// unique and exclusion constraints, foreign keys. What another table refers to
// stays.
type Asides interface {
	// Secondary lists what could be set aside. The indexes in keep could not.
	Secondary(ctx context.Context, relations, keep []Relation) ([]Aside, error)
	// SetAside drops it, in one transaction with the records of how to make it
	// again. It returns what it has added to the records.
	SetAside(ctx context.Context, name string, relations, keep []Relation) ([]Aside, error)
	// Asides lists what is recorded, in the order of passes.
	Asides(ctx context.Context, name string) ([]Aside, error)
	// Build makes one thing again, in one transaction with the end of its record.
	// It returns a HaltError where rows stand against it.
	Build(ctx context.Context, a Aside) error
	// BuildProgress tells, for people, what is being built and how far it is.
	BuildProgress(ctx context.Context, relations []Relation) (string, error)
}

// Passes whose statements lock several tables, or partitions, and go one by one;
// of the second, which reads rows of several tables, the planner wants statistics.
const (
	passPartitioned = 3
	passKeys        = 4
)

// setAside frees the targets of what is made again after the copy.
func (m *Mover) setAside(ctx context.Context, l layout) error {
	asides, err := m.Extracted.SetAside(ctx, m.Document.Name, distinct(relations(l.pairs, capability.Extracted)), keyIndexes(l.pairs))
	if err != nil || len(asides) == 0 {
		return err
	}
	m.log.Info("set aside until the rows are copied", "what", strings.Join(asideNames(asides), ", "))
	return nil
}

// keyIndexes are the indexes by which rows of extracted tables are known.
func keyIndexes(pairs []Pair) (list []Relation) {
	for _, p := range pairs {
		if p.Extracted.KeyIndex != "" {
			list = append(list, Relation{Schema: p.Extracted.Schema, Name: p.Extracted.KeyIndex})
		}
	}
	return list
}

// giveBack makes again, after a reset, what is still set aside.
func (m *Mover) giveBack(ctx context.Context) error {
	asides, err := m.Extracted.Asides(ctx, m.Document.Name)
	if err != nil || len(asides) == 0 {
		return err
	}
	return m.rebuild(ctx, nil)
}

// rebuild makes again what was set aside, pass by pass, each in as many sessions
// as there are builders. What is built stays built if it is interrupted.
func (m *Mover) rebuild(ctx context.Context, targets []Relation) error {
	asides, err := m.Extracted.Asides(ctx, m.Document.Name)
	if err != nil {
		return err
	}
	b := &building{total: len(asides)}
	m.mu.Lock()
	m.building = b
	m.mu.Unlock()
	watching, stop := context.WithCancel(ctx)
	var watch errgroup.Group
	watch.Go(func() error { m.watchBuilding(watching, b, targets); return nil })
	defer func() {
		stop()
		_ = watch.Wait() // it returns no error
	}()
	analyzed := false
	for len(asides) > 0 || !analyzed {
		if !analyzed && (len(asides) == 0 || asides[0].Pass >= passKeys) {
			if err := m.Extracted.Analyze(ctx, targets); err != nil {
				return err
			}
			analyzed = true
			continue
		}
		next := slices.IndexFunc(asides, func(a Aside) bool { return a.Pass > asides[0].Pass })
		if next < 0 {
			next = len(asides)
		}
		if err := m.build(ctx, b, asides[:next]); err != nil {
			return err
		}
		asides = asides[next:]
	}
	return nil
}

// build makes one pass. The sessions take no locks in turn that another one holds
// in the other order: one statement of a pass locks one table, but for adding a
// foreign key, which takes no time.
func (m *Mover) build(ctx context.Context, b *building, asides []Aside) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(builders)
	if pass := asides[0].Pass; pass == passPartitioned || pass == passKeys {
		group.SetLimit(1)
	}
	for _, a := range asides {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := m.Extracted.Build(ctx, a); err != nil {
				return err
			}
			b.count()
			m.log.Info("made again", "kind", a.Kind, "name", a.Name, "table", a.Table.String())
			return nil
		})
	}
	return group.Wait()
}

// watchBuilding asks once a second how far it is.
func (m *Mover) watchBuilding(ctx context.Context, b *building, targets []Relation) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text, err := m.Extracted.BuildProgress(ctx, targets)
		if err != nil {
			continue // the status shows what it has; building itself tells what is wrong
		}
		b.tell(text)
	}
}

// asideNames are the names of what is set aside, each once.
func asideNames(asides []Aside) []string {
	var names []string
	for _, a := range asides {
		if !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	return names
}

// asides notes in the plan what a backfill will set aside.
func (p *planner) asides(ctx context.Context, _, extracted Database) error {
	asides, err := extracted.Secondary(ctx, distinct(relations(p.layout.pairs, capability.Extracted)), keyIndexes(p.layout.pairs))
	if err != nil || len(asides) == 0 || p.plan.Begun {
		return err
	}
	p.plan.Notes = append(p.plan.Notes, Remark{Side: capability.Extracted,
		Message: "set aside while rows are copied, and made again before they are followed: " + strings.Join(asideNames(asides), ", ")})
	return nil
}
