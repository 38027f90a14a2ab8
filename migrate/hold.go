package migrate

import (
	"context"
	"errors"
	"time"

	"strangler/capability"
)

// ErrPassed is returned by a hold that was asked to stop a stream where it has
// already been.
var ErrPassed = errors.New("the stream has already applied changes behind that position")

// ErrHeld is returned when somebody else holds the stream.
var ErrHeld = errors.New("the stream is already held")

// nudgeEvery is how often a source is asked for its position while somebody
// waits for it.
const nudgeEvery = 50 * time.Millisecond

// Hold keeps a stream from applying anything that committed at or behind a
// point. The connections stay up: the source is answered meanwhile.
type Hold struct {
	stream *Stream
	at     capability.Position // guarded by the standing's mu
}

// Hold lets the stream begin no further transaction; one that it is applying it
// finishes. An exact comparison holds the stream, then opens a snapshot on the
// source, then lets the stream run to exactly that snapshot with At, because
// otherwise the stream may have passed the snapshot before it is known. Release
// the hold when the target is being read. It blocks nothing; ErrHeld is returned
// while another hold stands.
func (s *Stream) Hold() (*Hold, error) {
	h := &Hold{stream: s}
	var err error
	s.standing.change(func() {
		if s.standing.hold != nil {
			err = ErrHeld
			return
		}
		s.standing.hold = h
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// At moves the hold to p and blocks until the stream stands exactly there:
// everything whose commit record starts before p is durable on the target, and
// nothing behind it is. On a quiet source this is known as soon as the source
// says that it has nothing more before p. It returns ErrPassed when changes
// behind p were applied before the hold; the hold stands even then.
func (h *Hold) At(ctx context.Context, p capability.Position) error {
	s := h.stream.standing
	var passed bool
	s.change(func() {
		h.at = max(h.at, p)
		passed = s.begun >= p && p > 0
	})
	if passed {
		return ErrPassed
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go h.stream.nudgeUntil(waiting)
	return s.await(ctx, func() (bool, error) { return s.applied >= p, nil })
}

// Release lets the stream go on. Releasing twice is harmless.
func (h *Hold) Release() {
	s := h.stream.standing
	s.change(func() {
		if s.hold == h {
			s.hold = nil
		}
	})
}

// HoldAt is Hold and At in one, for a position that the stream cannot have
// passed: one that lies ahead of everything committed so far.
func (s *Stream) HoldAt(ctx context.Context, p capability.Position) (release func(), err error) {
	h, err := s.Hold()
	if err != nil {
		return nil, err
	}
	if err := h.At(ctx, p); err != nil {
		h.Release()
		return nil, err
	}
	return h.Release, nil
}

// nudgeUntil asks the source for its position until ctx ends.
func (s *Stream) nudgeUntil(ctx context.Context) {
	again := time.NewTicker(nudgeEvery)
	defer again.Stop()
	for {
		s.Nudge()
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}
