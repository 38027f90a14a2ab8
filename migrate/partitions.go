package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// A partitioned table is one table to a stream: changes name the root, whichever
// partition has the row, and a row that goes from one partition to another is a
// delete and an insert. What changes rows without a change in the stream is to
// attach a partition that has rows, to detach or drop one, and to truncate one. So
// the partitions whose rows a stream knows are remembered in its source, and
// compared with those that are there: when a copy ends, while it is followed, and
// once more behind a gate that was shut. A truncation of a partition writes a
// message into the stream, in its transaction.

// Partition is one partition of a table, of any level.
type Partition struct {
	Root, ID uint32 // OIDs
	Relation Relation
	Leaf     bool   // has rows of its own
	Since    string // changes when it is attached anew
}

// Repartitioned is what has become of a table's partitions.
type Repartitioned struct {
	Gone   []Partition // detached or dropped, perhaps attached again since
	Filled []Partition // attached with rows that no stream has
	Fresh  []Partition // attached empty
}

// Partitioned is a database in which tables may be partitioned.
type Partitioned interface {
	// Partitions lists the partitions of the tables, as the exported snapshot of
	// that name sees them, or with no name now.
	Partitions(ctx context.Context, relations []Relation, snapshot string) ([]Partition, error)
	// RememberPartitions notes the partitions whose rows the capability's stream
	// from this database knows.
	RememberPartitions(ctx context.Context, name string, partitions []Partition) error
	// Repartitioned compares them with those of now. It reads a partition that is
	// new.
	Repartitioned(ctx context.Context, name string, relations []Relation) (Repartitioned, error)
	// AdoptPartitions notes some more.
	AdoptPartitions(ctx context.Context, name string, partitions []Partition) error
}

// partitionsEvery is how often partitions are looked for while they are followed.
const partitionsEvery = 2 * time.Second

// errParted ends a backfill whose source has lost partitions: rows of theirs are
// in the target, or on their way, and nothing takes them away again.
var errParted = errors.New("partitions were detached or dropped while rows were copied")

// partitioned are the tables of pairs that are partitioned on a side.
func partitioned(pairs []Pair, side capability.Side) []Relation {
	var list []Relation
	for _, p := range pairs {
		if p.On(side).Kind == kindPartitioned {
			list = append(list, p.On(side).Relation)
		}
	}
	return distinct(list)
}

// kindPartitioned is that of pg_class.
const kindPartitioned = "p"

// knows makes the stream from a side know the partitions that the snapshot sees.
func (m *Mover) knows(ctx context.Context, from capability.Side, pairs []Pair, snapshot string) ([]Partition, error) {
	tables := partitioned(pairs, from)
	if len(tables) == 0 {
		return nil, nil
	}
	partitions, err := m.databases[from].Partitions(ctx, tables, snapshot)
	if err != nil {
		return nil, err
	}
	return partitions, m.databases[from].RememberPartitions(ctx, m.Document.Name, partitions)
}

// known makes sure, when a snapshot was taken, that every partition that it sees
// was measured. After the first one it compares with the one before.
func (f *filling) known(ctx context.Context, anchor Anchor, todo *pendings, first bool) error {
	m := f.mover
	tables := partitioned(f.pairs, capability.Legacy)
	if len(tables) == 0 {
		return nil
	}
	if !first {
		if err := f.whole(ctx); err != nil && !errors.Is(err, ErrRewritten) {
			return err
		}
	}
	partitions, err := m.knows(ctx, capability.Legacy, f.pairs, anchor.Name())
	if err != nil {
		return err
	}
	measured := todo.leaves()
	for _, p := range partitions {
		if p.Leaf && !slices.Contains(measured, p.Relation) {
			return fmt.Errorf("%w: partition %s has just come", ErrRewritten, p.Relation)
		}
	}
	return nil
}

// whole says, when all is copied, whether these are all rows: ErrRewritten where
// a partition was attached with rows that the snapshot did not see, errParted
// where one has gone.
func (f *filling) whole(ctx context.Context) error {
	tables := partitioned(f.pairs, capability.Legacy)
	if len(tables) == 0 {
		return nil
	}
	r, err := f.mover.Legacy.Repartitioned(ctx, f.mover.Document.Name, tables)
	switch {
	case err != nil:
		return err
	case len(r.Gone) > 0:
		return fmt.Errorf("%w: %s", errParted, listed(partitionNames(r.Gone)))
	case len(r.Filled) > 0:
		return fmt.Errorf("%w: partition %s was attached with rows", ErrRewritten, r.Filled[0].Relation)
	}
	return nil
}

// watchPartitions looks after the partitions of both sides until ctx ends, or
// something has happened that a stream cannot follow.
func (m *Mover) watchPartitions(ctx context.Context, l layout) error {
	if len(partitioned(l.pairs, capability.Legacy)) == 0 && len(partitioned(l.moved(), capability.Extracted)) == 0 {
		return nil
	}
	tick := time.NewTicker(partitionsEvery)
	defer tick.Stop()
	for {
		var halt *HaltError
		err := m.repartitioned(ctx, l)
		switch {
		case errors.As(err, &halt):
			return err
		case err != nil && ctx.Err() == nil:
			m.log.Warn("the partitions cannot be looked at", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// repartitioned takes up partitions that have come empty on either side, guards
// included. It returns a HaltError where rows have come or gone with a partition.
func (m *Mover) repartitioned(ctx context.Context, l layout) error {
	for _, side := range capability.Sides {
		pairs := l.pairs
		if side == capability.Extracted {
			pairs = l.moved()
		}
		tables := partitioned(pairs, side)
		if len(tables) == 0 {
			continue
		}
		r, err := m.databases[side].Repartitioned(ctx, m.Document.Name, tables)
		if err == nil {
			err = r.halts(m.Document.Name, side)
		}
		if err == nil && len(r.Fresh) > 0 {
			err = m.adopt(ctx, side, l, r.Fresh)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Mover) adopt(ctx context.Context, side capability.Side, l layout, fresh []Partition) error {
	guarded := map[capability.Side][]Relation{side: partitioned(l.moved(), side)}
	if err := m.Gates.Prepare(ctx, guarded[capability.Legacy], guarded[capability.Extracted]); err != nil {
		return err
	}
	if err := m.identifyFresh(ctx, side, l, fresh); err != nil {
		return err
	}
	if err := m.databases[side].AdoptPartitions(ctx, m.Document.Name, fresh); err != nil {
		return err
	}
	m.log.Info("partitions have come", "side", string(side), "partitions", strings.Join(partitionNames(fresh), ", "))
	return nil
}

// identifyFresh has old rows of partitions come whole where the mapping asks that of
// their table: no partition takes its table's identity over.
func (m *Mover) identifyFresh(ctx context.Context, side capability.Side, l layout, fresh []Partition) error {
	if m.kinds[side] != capability.CaptureWAL {
		return nil
	}
	for _, p := range fresh {
		asks := slices.ContainsFunc(l.pairs, func(pair Pair) bool { return pair.On(side).ID == p.Root && pair.whole(side) != "" })
		if !p.Leaf || !asks {
			continue
		}
		if err := m.databases[side].IdentifyWhole(ctx, m.Document.Name, p.Relation); err != nil {
			return err
		}
	}
	return nil
}

// halts says why a stream cannot go on with these partitions; nil where it can.
func (r Repartitioned) halts(name string, side capability.Side) error {
	mend := "find and mend the rows with: strangler data repair " + name
	switch {
	case len(r.Gone) > 0:
		return &HaltError{Reason: fmt.Sprintf("partitions were detached or dropped in the %s database (%s): no change says that their rows are gone", side, listed(partitionNames(r.Gone))), Mend: mend}
	case len(r.Filled) > 0:
		return &HaltError{Reason: fmt.Sprintf("partitions were attached with rows in the %s database (%s): no change says that these have come", side, listed(partitionNames(r.Filled))), Mend: mend}
	}
	return nil
}

func partitionNames(list []Partition) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Relation.String()
	}
	return names
}

// truncatedPrefix is of the messages that tell of truncated partitions.
const truncatedPrefix = "strangler_truncated"

// partitionTruncated judges such a message. With its root a partition is truncated
// by the change before it; by itself there is no word for it.
func (a *applier) partitionTruncated(content string) error {
	var names [3]string // schema and name of the root, and the partition
	if err := json.Unmarshal([]byte(content), &names); err != nil {
		return fmt.Errorf("read change stream: a truncated partition: %w", err)
	}
	root := Relation{names[0], names[1]}
	table := slices.IndexFunc(a.shapes.mappings, func(m Mapping) bool { return m.From.Relation == root })
	if a.tx.skip || table < 0 || slices.Contains(a.tx.emptied, table) {
		return nil
	}
	return &HaltError{
		Reason: fmt.Sprintf("one partition of table %s in the %s database was truncated (%s), which cannot be done to the other side's table", root, a.shapes.from, names[2]),
		Mend:   "find and mend the rows with `strangler data repair`, or start over with `strangler data reset` where rows are still being copied; delete rows instead of truncating a partition",
	}
}
