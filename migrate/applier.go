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
	groupChanges = 1000
	groupBytes   = 1 << 20
	groupTime    = 20 * time.Millisecond
)

// groupBeside is of how many changes, and multiples of it, a group is worth a session
// beside others. Not more: the larger two groups are, the more likely they meet in a
// row, and then the second one waits, and grows meanwhile.
const groupBeside = groupChanges / 8

// A transaction of the source that goes this far beyond the bounds of a group goes to
// the target in pieces.
const (
	pieceChanges = 4 * groupChanges
	pieceBytes   = 4 << 20
)

// idlePersist is how often a position that moved without changes is written to
// the target, which lets the source forget its log. Not more often: each write
// is log of the target, which wakes the stream the other way.
const idlePersist = 10 * time.Second

// markerPrefix is of the messages in change streams that are markers.
const markerPrefix = "strangler"

// applier is the one goroutine that decides what is written to the target. It collects
// whole transactions of the source into a group, and has the group committed with
// the position behind it when it is large or old enough, or nothing more has come.
// What goes in pieces, what needs the answers of the source, and truncations it writes
// itself, with nothing else under way; all else is the crew's.
type applier struct {
	standing *standing
	changed  *Changed
	crew     *crew
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
	parts        bool // some of it was sent
	tried        int  // changes when it was last looked whether it could go beside others
}

// newApplier makes the applier of one lifetime of a stream's connections: lead is its
// first session, open opens the n-th beside it, and spawn runs parts of its work.
func newApplier(s *Stream, lead Session, open func(ctx context.Context, n int) (Session, error), spawn func(func() error)) *applier {
	a := &applier{standing: s.standing, changed: s.changed, fetcher: s.Fetcher,
		shapes: newShapes(s.From, s.Mappings), joints: newJoints(s.From, s.Mappings), stored: lead.Progress().Position,
		echo: OriginName(s.Capability, s.From.Other())}
	a.crew = newCrew(lead, open, spawn, a.landed, func() bool { return s.standing.lag() >= behindFor })
	return a
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
		if a.group.count > 0 || a.crew.busy() {
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
		a.tx.skip = a.tx.skip || e.Name == a.echo || strings.HasPrefix(e.Name, a.echo+copySuffix) || strings.HasPrefix(e.Name, a.echo+applySuffix)
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
	if len(g.pending) < pieceChanges && g.bytes < pieceBytes {
		return nil
	}
	// The transaction is larger than memory should be: it goes to the target in
	// pieces, and is committed there when its end has come.
	if err := a.crew.drain(ctx); err != nil {
		return err
	}
	return a.send(ctx, g)
}

// send writes the group's changes in the transaction that its end will commit.
func (a *applier) send(ctx context.Context, g *group) error {
	var err error
	if g.early {
		err = a.early(ctx, g)
	} else {
		err = a.crew.lead.Apply(ctx, g.pending)
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

// grown sends the group on its way if it is large enough, or meets none that is on its
// way, or is old enough where nothing is: a second session pays where the first cannot
// keep up, not before.
func (a *applier) grown(ctx context.Context) error {
	switch g := &a.group; {
	case g.count >= groupChanges || g.bytes >= groupBytes:
		return a.dispatch(ctx)
	case g.count == 0:
		return nil
	case !a.crew.busy():
		if time.Since(g.began) >= groupTime {
			return a.dispatch(ctx)
		}
	case g.count >= g.tried+groupBeside && !g.early && !g.emptied && !g.parts:
		g.tried = g.count
		if a.crew.ready(*g) {
			return a.dispatch(ctx)
		}
	}
	return nil
}

// dispatch has the group made durable, by and by. Between two transactions only.
func (a *applier) dispatch(ctx context.Context) error {
	g := a.group
	if g.count == 0 || g.early || g.emptied || g.parts {
		return a.settle(ctx)
	}
	a.group = group{}
	return a.crew.dispatch(ctx, g)
}

// settle makes the group durable, and everything before it. Between two transactions
// only.
func (a *applier) settle(ctx context.Context) error {
	if err := a.crew.drain(ctx); err != nil {
		return err
	}
	g := a.group
	if g.end == 0 {
		return nil
	}
	a.group = group{}
	if g.count == 0 {
		a.standing.advance(g.end)
		return nil
	}
	var err error
	if g.early {
		err = a.send(ctx, &g)
	}
	if err == nil {
		err = a.crew.lead.Commit(ctx, g.pending, g.end)
	}
	a.landed(g, err)
	return err
}

// landed takes down what came of a group; err is why it was not committed.
func (a *applier) landed(g group, err error) {
	// Whatever came of it: when the connection broke, it may have committed.
	a.remember(g)
	if err == nil {
		a.standing.persist(g.end, g.count)
	}
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
	if a.tx != nil || a.group.end != 0 || applied <= persisted || a.crew.busy() {
		return nil
	}
	if err := a.crew.lead.Commit(ctx, nil, applied); err != nil {
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
	g.pending, g.bytes, g.parts = g.pending[:0], 0, true
}

// These stand between an origin's name and the number of a backfill's worker, or of a
// further session of a stream.
const (
	copySuffix  = "_copy"
	applySuffix = "_apply"
)

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

// ApplyOriginName is the origin of a stream's n-th session; the first, number 0, has
// the capability's own.
func ApplyOriginName(name string, from capability.Side, n int) string {
	if n == 0 {
		return OriginName(name, from)
	}
	return fmt.Sprintf("%s%s%d", OriginName(name, from), applySuffix, n)
}
