package migrate

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	queueLength    = 4096
	queueBytes     = 32 << 20 // received and not yet applied
	heartbeatEvery = 10 * time.Second
	heartbeatTime  = 5 * time.Second
	answerEvery    = 10 * time.Second // at least, whatever the source's timeout is
)

// item is an event on its way from the receiver to the applier.
type item struct {
	Received
	at   time.Time // of its receipt, by our clock
	held int64     // bytes of room that it takes
}

// link is one lifetime of a stream's two connections, and the goroutines between
// them: one receives, one answers the source in time however long the applier
// takes, one applies, one keeps a quiet source talking.
type link struct {
	stream  *Stream
	feed    Feed
	session Session
	queue   chan item
	room    *semaphore.Weighted
	// waiting is since when the receiver has been waiting for the source, in
	// nanoseconds of the epoch; 0 while it waits for the applier.
	waiting atomic.Int64
}

// newLink opens both connections, the target's first: where to resume is written
// there. The caller closes the link.
func newLink(ctx context.Context, s *Stream) (*link, error) {
	session, err := s.Target.Applier(ctx, s.Capability, s.From, 0, s.Fence, Joined(s.Mappings))
	if err != nil {
		return nil, err
	}
	l := &link{stream: s, session: session, queue: make(chan item, queueLength), room: semaphore.NewWeighted(queueBytes)}
	if l.feed, err = l.follow(ctx); err != nil {
		return nil, closing(err, session)
	}
	return l, nil
}

// follow opens the source's changes where the target stands, once it is certain
// that it is the source that the target has followed so far.
func (l *link) follow(ctx context.Context) (Feed, error) {
	progress := l.session.Progress()
	identity, err := l.stream.Source.Identity(ctx)
	if err != nil {
		return nil, err
	}
	if identity != progress.Source {
		return nil, &HaltError{
			Reason: fmt.Sprintf("the %s database is not the one this stream has followed: system %s, timeline %d now, system %s, timeline %d before",
				l.stream.From, identity.System, identity.Timeline, progress.Source.System, progress.Source.Timeline),
			Mend: "changes may be lost after a restore or a failover; find and mend them with: strangler data repair " + l.stream.Capability,
		}
	}
	return l.stream.Source.Follow(ctx, progress.Position)
}

func (l *link) close() error { return closing(l.feed.Close(), l.session) }

// run blocks until one of the goroutines fails or ctx ends, and all are gone.
func (l *link) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	a := newApplier(l.stream, l.session, l.another, group.Go)
	defer a.crew.dismiss()
	group.Go(func() error { return l.receive(ctx) })
	group.Go(func() error { return l.answer(ctx) })
	group.Go(func() error { return l.beat(ctx) })
	group.Go(func() error { return l.apply(ctx, a) })
	return group.Wait()
}

// receive blocks while the applier is behind by queueBytes: then the source
// waits as well, and memory stays bounded.
func (l *link) receive(ctx context.Context) error {
	for {
		l.waiting.Store(time.Now().UnixNano())
		r, err := l.feed.Receive(ctx)
		l.waiting.Store(0)
		if err != nil {
			return err
		}
		if k, ok := r.Event.(Keepalive); ok && k.Reply {
			if err := l.confirm(false); err != nil {
				return err
			}
		}
		i := item{Received: r, at: time.Now(), held: min(int64(r.Bytes), queueBytes)}
		if err := l.room.Acquire(ctx, i.held); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l.queue <- i:
		}
	}
}

// answer tells the source at least three times per its timeout that we are here,
// and asks for an answer: a source that gives none for longer than its timeout is
// gone, whatever the network still believes. It may well be silent for half of
// that, while it reads a large transaction that is not for us.
func (l *link) answer(ctx context.Context) error {
	timeout, every := l.feed.Timeout(), answerEvery
	if timeout > 0 {
		every = min(every, timeout/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := l.confirm(true); err != nil {
			return err
		}
		if since := l.waiting.Load(); timeout > 0 && since != 0 {
			if silent := time.Since(time.Unix(0, since)); silent > timeout+every {
				return fmt.Errorf("follow the %s database: it has been silent for %s", l.stream.From, silent.Round(time.Millisecond))
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// confirm tells the source what it may forget: never more than is durable in the
// target's progress row.
func (l *link) confirm(reply bool) error {
	_, persisted := l.stream.standing.positions()
	return l.feed.Confirm(persisted, reply)
}

// beat writes something into the source's log now and then, so that the slot
// moves on in a database in which nothing else is written. A beat that fails is
// not worth the link: a source that is gone shows in the feed.
func (l *link) beat(ctx context.Context) error {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, heartbeatTime)
		head, err := l.stream.Source.Heartbeat(bounded)
		cancel()
		if err != nil {
			l.stream.Log.WarnContext(ctx, "Heartbeat failed", "capability", l.stream.Capability, "from", l.stream.From, "error", err)
			continue
		}
		l.stream.standing.ahead(head)
	}
}

// another opens one more session of the target.
func (l *link) another(ctx context.Context, n int) (Session, error) {
	s := l.stream
	session, err := s.Target.Applier(ctx, s.Capability, s.From, n, s.Fence, Joined(s.Mappings))
	if err != nil {
		if ctx.Err() == nil {
			s.Log.WarnContext(ctx, "No further session to apply with", "capability", s.Capability, "from", s.From, "session", n, "error", err)
		}
		return nil, err
	}
	s.Log.InfoContext(ctx, "Further session to apply with", "capability", s.Capability, "from", s.From, "session", n)
	return session, nil
}

// apply takes events as they come, and has what there is committed whenever none is
// waiting.
func (l *link) apply(ctx context.Context, a *applier) error {
	idle := time.NewTicker(idlePersist)
	defer idle.Stop()
	for {
		var next item
		select {
		case next = <-l.queue:
		default:
			if a.tx == nil && !a.crew.busy() {
				if err := a.dispatch(ctx); err != nil {
					return err
				}
			}
			var quiet <-chan struct{} // what has been collected meanwhile is next
			if a.tx == nil && a.group.end != 0 {
				quiet = a.crew.idle()
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-idle.C:
				if err := a.idle(ctx); err != nil {
					return err
				}
				continue
			case <-quiet:
				continue
			case next = <-l.queue:
			}
		}
		if err := a.take(ctx, next); err != nil {
			return err
		}
		l.room.Release(next.held)
	}
}
