package migrate

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"strangler/capability"
)

// Source is the database that a stream's changes come from.
type Source interface {
	Identity(ctx context.Context) (capability.Identity, error)
	// Follow opens the capability's changes behind a position. It returns a HaltError
	// where not every change since can be had.
	Follow(ctx context.Context, from capability.Position) (Feed, error)
	// Heartbeat keeps a quiet source moving on, and returns a position that it has
	// reached, behind everything that a query has shown before the call. All of that is
	// durable then, whatever its own commit waited for.
	Heartbeat(ctx context.Context) (capability.Position, error)
}

// Feed is one open connection to a change stream. Receive is for one goroutine;
// the other methods may be called by any, meanwhile too.
type Feed interface {
	// Receive blocks until the next event. The event is the caller's to keep.
	Receive(ctx context.Context) (Received, error)
	// Confirm tells the source what it need not keep any more, and asks for a
	// Keepalive at once where reply is set.
	Confirm(durable capability.Position, reply bool) error
	// Timeout is how long the source waits for a Confirm before it gives us up,
	// and within which it answers one. 0: for ever.
	Timeout() time.Duration
	Close() error
}

// Target is the database that a stream's changes go to.
type Target interface {
	// Applier opens the n-th session that may write the changes of a source, at most one
	// of each number, and takes the stream over from whoever had a lower fence. It
	// returns a HaltError where there is no progress to resume from, or the fence is too
	// low. Whoever has the session of number 0 is the only one who opens others.
	Applier(ctx context.Context, name string, from capability.Side, n int, fence uint64, mappings []Mapping) (Session, error)
}

// Session applies changes in transactions that carry their position. After an
// error it is of no further use, but for Undo; what was not committed is gone.
type Session interface {
	// Progress is what the target said when the session began.
	Progress() Progress
	// Exclusions are those of the mappings, in their order.
	Exclusions() []Exclusion
	// Apply writes changes in the transaction that the next Commit ends. It
	// returns a ConflictError where a change does not fit the rows.
	Apply(ctx context.Context, changes []Change) error
	// Commit writes the changes and the position, and returns when they are
	// durable. After a broken connection nobody knows but the progress row.
	Commit(ctx context.Context, changes []Change, position capability.Position) error
	// Undo undoes what Apply has written since the last Commit, or tried to.
	Undo(ctx context.Context) error
	Close() error
	EarlySession
}

// Bounds of the pause between two attempts to connect.
const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// StreamOptions say what a Stream connects.
type StreamOptions struct {
	Capability string
	From       capability.Side // the source
	Mappings   []Mapping       // in the direction of the stream
	Source     Source
	Target     Target
	// Horizon and Fetcher are for a stream that follows a backfill with more than
	// one snapshot: see horizon.go.
	Horizon capability.Position
	Fetcher Fetcher
	Fence   uint64 // token of this controller: a higher one takes the stream over
	Log     *slog.Logger
}

// Stream is one direction of the dual write: it applies every committed change
// of the source to the target, exactly once, and commits in the source's order. What came from
// the other side is not sent back. Run does it; all other methods may be called
// at any time, by anyone.
type Stream struct {
	StreamOptions
	standing *standing
	changed  *Changed

	mu   sync.Mutex
	link *link // guarded by mu; nil while not connected
}

// NewStream makes a stream that is not running yet. Capture and progress exist
// before it runs.
func NewStream(options StreamOptions) *Stream {
	s := &Stream{StreamOptions: options, standing: newStanding(), changed: newChanged()}
	s.standing.raise(options.Horizon)
	return s
}

// Run streams until ctx ends, and then returns nil. A connection that is lost is
// made again, with pauses that grow to five seconds. What trying again cannot
// heal ends it: a HaltError, a ConflictError, or a ChangedError. Run is called once.
func (s *Stream) Run(ctx context.Context) error {
	pause := backoffFirst
	for {
		worked, err := s.once(ctx)
		switch {
		case ctx.Err() != nil:
			s.standing.end(nil)
			return nil
		case final(err):
			s.standing.end(err)
			if errors.As(err, new(*ChangedError)) { // which is for whoever runs the stream to judge
				s.Log.InfoContext(ctx, "Stream ended at a change of a table", "capability", s.Capability, "from", s.From, "why", err)
				return err
			}
			s.Log.ErrorContext(ctx, "Stream ended", "capability", s.Capability, "from", s.From, "error", err)
			return err
		}
		if worked {
			pause = backoffFirst
		}
		s.standing.lost(err)
		s.Log.WarnContext(ctx, "Stream lost", "capability", s.Capability, "from", s.From, "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, backoffMost)
	}
}

// once is one lifetime of the connections; worked says that they came about.
func (s *Stream) once(ctx context.Context) (worked bool, err error) {
	l, err := newLink(ctx, s)
	if err != nil {
		return false, err
	}
	stored := l.session.Progress().Position
	s.standing.resume(stored)
	s.setLink(l)
	s.Log.InfoContext(ctx, "Stream live", "capability", s.Capability, "from", s.From, "position", stored.String())
	err = l.run(ctx)
	s.setLink(nil)
	if closed := l.close(); closed != nil {
		s.Log.DebugContext(ctx, "Closing the stream's connections failed", "error", closed)
	}
	return true, err
}

func (s *Stream) setLink(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
}

// Status says where the stream stands. Lag is of received changes only.
func (s *Stream) Status() capability.StreamStatus { return s.standing.status(s.From, s.changed.Len()) }

// Applied is the position up to which everything of the source is durable on the
// target. On a quiet source it follows the source's own position.
func (s *Stream) Applied() capability.Position {
	applied, _ := s.standing.positions()
	return applied
}

// Horizon is the position before which the stream makes changes true instead of
// expecting their rows. It may move on until it is passed.
func (s *Stream) Horizon() capability.Position { return s.standing.horizonNow() }

// Changed is the set of rows that were applied since they were last verified.
func (s *Stream) Changed() *Changed { return s.changed }

// WaitMarker blocks until the transaction that wrote the marker with this nonce
// has been passed and everything before it is durable on the target. A marker
// that was passed earlier counts, the last thousand of them at least, while this
// Stream runs. It returns why the stream ended when it ends first.
func (s *Stream) WaitMarker(ctx context.Context, nonce string) error {
	return s.standing.await(ctx, func() (bool, error) {
		end, seen := s.standing.markers[nonce]
		return seen && s.standing.applied >= end, nil
	})
}

// Nudge asks the source to tell its position at once, so that Applied follows.
// It does nothing while the stream is not connected.
func (s *Stream) Nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return
	}
	// A connection on which this fails is broken, and the receiver finds it so.
	if err := s.link.confirm(true); err != nil {
		s.Log.Debug("Nudge failed", "capability", s.Capability, "from", s.From, "error", err)
	}
}

// final tells errors that end a stream from those of a connection.
func final(err error) bool {
	var halt *HaltError
	var conflict *ConflictError
	var changed *ChangedError
	return errors.As(err, &halt) || errors.As(err, &conflict) || errors.As(err, &changed)
}

// closing closes something behind an error, and keeps both errors.
func closing(err error, c io.Closer) error { return errors.Join(err, c.Close()) }
