package migrate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"strangler/capability"
)

// Bounds of one transaction on the target that holds several of the source's.
const (
	groupChanges = 2000
	groupBytes   = 4 << 20 // sent to the target at once
	groupTime    = 20 * time.Millisecond
)

// idlePersist is how often a position that moved without changes is written to
// the target, which lets the source forget its log. Not more often: each write
// is log of the target, which wakes the stream the other way.
const idlePersist = 10 * time.Second

// markerPrefix is of the messages in change streams that are markers.
const markerPrefix = "strangler"

// applier is the one goroutine that writes to the target. It collects whole
// transactions of the source into a group, and commits the group with the
// position behind it when it is large or old enough, or nothing more has come.
type applier struct {
	standing *standing
	changed  *Changed
	session  Session
	fetcher  Fetcher
	shapes   *shapes
	joints   *joints
	stored   capability.Position // what the target had applied when the session began
	echo     string              // origin of what the other side's stream has written into the source

	tx    *transaction // being received
	group group
}

// transaction is one of the source's, between its Begin and Commit.
type transaction struct {
	begin   Begin
	skip    bool // its changes are applied already, or came from the other side
	early   bool // it commits before the horizon
	markers []string
	emptied []int // tables that were truncated by the last changes
}

// group is one transaction on the target.
type group struct {
	end     capability.Position // of its last whole transaction; 0 when empty
	pending []Change            // not yet sent
	bytes   int                 // of pending
	count   int                 // changes, sent or not
	early   bool                // all of its changes, or none
	keys    []string
	began   time.Time
	// transactions are those that an early group's changes are of.
	transactions []uint32
	full         bool // of more keys than Changed would take
	emptied      bool // it truncates
}

func newApplier(s *Stream, session Session) *applier {
	return &applier{standing: s.standing, changed: s.changed, session: session, fetcher: s.Fetcher,
		shapes: newShapes(s.From, s.Mappings), joints: newJoints(s.From, s.Mappings), stored: session.Progress().Position,
		echo: OriginName(s.Capability, s.From.Other())}
}

// take applies one event. It blocks while a hold stands before a transaction.
func (a *applier) take(ctx context.Context, item item) error {
	switch e := item.Event.(type) {
	case Begin:
		return a.begin(ctx, e, item)
	case Keepalive:
		a.standing.ahead(e.End)
		if a.tx != nil {
			return nil // its end lies before transactions that are still to come
		}
		if a.group.count > 0 {
			// Everybody who waits for a position asks for keepalives: to commit at each
			// of them would make groups of one. The group reaches as far, and is
			// committed when it is large or old enough, or nothing more is waiting.
			a.group.end = max(a.group.end, e.End)
			return a.grown(ctx)
		}
		if err := a.settle(ctx); err != nil {
			return err
		}
		a.standing.advance(e.End)
		return nil
	}
	if a.tx == nil {
		return fmt.Errorf("read change stream: %T outside a transaction", item.Event)
	}
	switch e := item.Event.(type) {
	case Origin:
		a.tx.skip = a.tx.skip || e.Name == a.echo || strings.HasPrefix(e.Name, a.echo+copySuffix)
		return nil
	case Shape:
		return a.shapes.learn(e)
	case Message:
		switch e.Prefix {
		case markerPrefix:
			a.tx.markers = append(a.tx.markers, e.Content)
		case truncatedPrefix:
			return a.partitionTruncated(e.Content)
		}
		return nil
	case Row:
		return a.row(ctx, e, item.Bytes)
	case Truncate:
		return a.truncate(e)
	case Commit:
		return a.commit(ctx, e)
	}
	return fmt.Errorf("read change stream: unknown event %T", item.Event)
}

func (a *applier) begin(ctx context.Context, b Begin, item item) error {
	if a.tx != nil {
		return fmt.Errorf("read change stream: a transaction at %s inside another", b.Commit)
	}
	if b.Commit < a.stored {
		a.shapes.commit = b.Commit
		a.tx = &transaction{begin: b, skip: true}
		return nil
	}
	a.standing.late(b, item.Received, item.at)
	if !a.standing.admit(b.Commit) {
		if err := a.settle(ctx); err != nil {
			return err
		}
		// Transactions arrive in the order of their commits, so that nothing more
		// comes from before this one.
		a.standing.advance(b.Commit)
		a.standing.late(b, item.Received, item.at)
		err := a.standing.await(ctx, func() (bool, error) {
			return a.standing.hold == nil || b.Commit < a.standing.hold.at, nil
		})
		if err != nil {
			return err
		}
		return a.begin(ctx, b, item) // the hold may be another one by now
	}
	if a.group.count > 0 && a.group.early && b.Commit >= a.standing.horizonNow() {
		// Not with changes that must find their rows; it may move the horizon on.
		if err := a.settle(ctx); err != nil {
			return err
		}
	}
	a.shapes.commit = b.Commit
	a.joints.begin()
	a.tx = &transaction{begin: b, early: b.Commit < a.standing.horizonNow()}
	return nil
}

func (a *applier) row(ctx context.Context, r Row, bytes int) error {
	if a.tx.skip {
		return nil
	}
	a.tx.emptied = nil
	changes, err := a.shapes.row(r)
	if err != nil {
		return err
	}
	g := &a.group
	for _, c := range changes {
		if len(g.keys) < changedCap {
			g.keys = append(g.keys, a.shapes.keys(c, r)...)
		} else {
			g.full = true
		}
		whole, err := a.joints.take(c)
		if err != nil {
			return err
		}
		for _, c := range whole {
			g.add(c, bytes, a.tx)
		}
	}
	if len(g.pending) < groupChanges && g.bytes < groupBytes {
		return nil
	}
	// The transaction is larger than memory should be: it goes to the target in
	// pieces, and is committed there when its end has come.
	return a.send(ctx, g)
}

// send writes the group's changes in the transaction that its end will commit.
func (a *applier) send(ctx context.Context, g *group) error {
	var err error
	if g.early {
		err = a.early(ctx, g)
	} else {
		err = a.session.Apply(ctx, g.pending)
	}
	if err != nil {
		return err
	}
	g.sent()
	return nil
}

func (a *applier) truncate(t Truncate) error {
	if a.tx.skip {
		return nil
	}
	c, err := a.shapes.truncate(t)
	if err != nil {
		return err
	}
	a.group.emptied = true
	a.tx.emptied = append(a.tx.emptied, c.Tables...)
	whole, err := a.joints.take(c)
	for _, c := range whole {
		a.group.add(c, 0, a.tx)
	}
	return err
}

func (a *applier) commit(ctx context.Context, c Commit) error {
	tx := a.tx
	a.tx = nil
	if c.Commit != tx.begin.Commit || c.End <= c.Commit {
		return fmt.Errorf("read change stream: a transaction that began for %s committed at %s", tx.begin.Commit, c.Commit)
	}
	if c.Commit < a.stored {
		return nil
	}
	if !tx.skip {
		left, err := a.joints.end()
		if err != nil {
			return err
		}
		for _, change := range left {
			a.group.add(change, 0, tx)
		}
	}
	for _, nonce := range tx.markers {
		a.standing.mark(nonce, c.End)
	}
	a.group.end = c.End
	return a.grown(ctx)
}

// grown makes the group durable if it is large or old enough.
func (a *applier) grown(ctx context.Context) error {
	if g := &a.group; g.count >= groupChanges || g.count > 0 && time.Since(g.began) >= groupTime {
		return a.settle(ctx)
	}
	return nil
}

// settle makes the group durable. Between two transactions only.
func (a *applier) settle(ctx context.Context) error {
	g := a.group
	if g.end == 0 {
		return nil
	}
	a.group = group{pending: g.pending[:0]}
	if g.count == 0 {
		a.standing.advance(g.end)
		return nil
	}
	var err error
	if g.early {
		err = a.send(ctx, &g)
	}
	if err == nil {
		err = a.session.Commit(ctx, g.pending, g.end)
	}
	// Whatever came of it: when the connection broke, it may have committed.
	a.remember(g)
	if err != nil {
		return err
	}
	clear(g.pending) // the rows' memory
	a.standing.persist(g.end, g.count)
	return nil
}

func (a *applier) remember(g group) {
	if g.full || g.emptied {
		a.changed.Overflow()
		return
	}
	a.changed.add(g.keys)
}

// idle persists a position that moved without changes.
func (a *applier) idle(ctx context.Context) error {
	applied, persisted := a.standing.positions()
	if a.tx != nil || a.group.end != 0 || applied <= persisted {
		return nil
	}
	if err := a.session.Commit(ctx, nil, applied); err != nil {
		return err
	}
	a.standing.persist(applied, 0)
	return nil
}

func (g *group) add(c Change, bytes int, tx *transaction) {
	if g.count == 0 {
		g.began, g.early = time.Now(), tx.early
	}
	if id := tx.begin.ID; g.early && id != 0 && (len(g.transactions) == 0 || g.transactions[len(g.transactions)-1] != id) {
		g.transactions = append(g.transactions, id)
	}
	g.pending = append(g.pending, c)
	g.count++
	g.bytes += bytes
}

// sent forgets what the target has by now.
func (g *group) sent() {
	clear(g.pending)
	g.pending, g.bytes = g.pending[:0], 0
}

// copySuffix stands between an origin's name and the number of a backfill's
// worker.
const copySuffix = "_copy"

// OriginName is the replication origin under which a capability's mover writes,
// by the side that the rows come from. The name is the capability's own: what the
// movers of others write into the source is news to whoever copies their tables.
func OriginName(name string, from capability.Side) string {
	return "strangler_" + name + "_" + string(from)
}

// CopyOriginName is the origin of one worker of the backfill.
func CopyOriginName(name string, from capability.Side, worker int) string {
	return fmt.Sprintf("%s%s%d", OriginName(name, from), copySuffix, worker)
}
