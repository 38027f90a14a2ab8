package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// meetings let the upstream's end of a stream wait until the client's end has what was sent: a proxy that keeps a piece
// back to send it with the next one never gets a next one.
type meetings struct {
	mu   sync.Mutex
	open map[string]chan struct{} // guarded by mu
}

func newMeetings() *meetings { return &meetings{open: map[string]chan struct{}{}} }

// arrange makes the meeting; the client calls it before it sends, and end when it is through.
func (m *meetings) arrange(id string) (came func(), end func()) {
	meeting := make(chan struct{}, 1)
	m.mu.Lock()
	m.open[id] = meeting
	m.mu.Unlock()
	came = func() { meeting <- struct{}{} }
	return came, func() {
		m.mu.Lock()
		delete(m.open, id)
		m.mu.Unlock()
	}
}

var errNobodyCame = errors.New("the client did not get what was flushed")

// wait blocks until the client says that the piece came.
func (m *meetings) wait(ctx context.Context, id string) error {
	m.mu.Lock()
	meeting := m.open[id]
	m.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-meeting:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		return errNobodyCame
	}
}

// patience is how long one end of a stream waits for the other: far above what a busy machine needs.
const patience = 8 * time.Second
