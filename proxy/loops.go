package proxy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// loops starts background work only while Run is running, and waits for it.
type loops struct {
	mu   sync.Mutex
	ctx  context.Context // guarded by mu; nil before open and after close
	kept map[*loop]bool  // guarded by mu; begun by open
	wg   sync.WaitGroup
}

// loop is one that is kept until it is ended.
type loop struct {
	run   func(context.Context) error
	alive context.Context
}

func (l *loops) open(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = ctx
	for one := range l.kept {
		l.begin(one)
	}
}

// keep runs f from open, or from now, until close or end. What has ended is
// forgotten; end does not wait for it.
func (l *loops) keep(f func(context.Context) error) (end func()) {
	alive, cancel := context.WithCancel(context.Background())
	one := &loop{f, alive}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		l.kept = map[*loop]bool{}
	}
	l.kept[one] = true
	if l.ctx != nil {
		l.begin(one)
	}
	return func() {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.kept, one)
	}
}

// begin is called with mu held.
func (l *loops) begin(one *loop) {
	ctx := l.ctx
	l.wg.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(one.alive, cancel)()
		_ = one.run(ctx) // it ends with its context, and has nothing to say then
	})
}

func (l *loops) close() {
	l.mu.Lock()
	l.ctx = nil
	l.mu.Unlock()
	l.wg.Wait()
}

// start reports false, and does not start f, when nothing is running.
func (l *loops) start(f func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		return false
	}
	ctx := l.ctx
	l.wg.Go(func() { f(ctx) })
	return true
}

const (
	markEvery   = 50 * time.Millisecond  // between questions while somebody waits
	markBackoff = 500 * time.Millisecond // after an answer that was of no use
	markTimeout = 2 * time.Second        // of one question
)

// askMarks starts asking for the marks of one capability unless that is going
// on, and stops by itself when nobody waits any more: one question at a time,
// the next one asks for all who came meanwhile.
func (p *Proxy) askMarks(l *lasting) {
	if p.options.Marks == nil || !l.marks.start() {
		return
	}
	started := p.loops.start(func(ctx context.Context) {
		for {
			wait, ok := p.askOnce(ctx, l)
			if !ok {
				return
			}
			select {
			case <-ctx.Done():
				l.marks.stop()
				return
			case <-time.After(wait):
			}
		}
	})
	if !started {
		l.marks.stop()
	}
}

// askOnce asks one question. ok is false when there was none to ask.
func (p *Proxy) askOnce(ctx context.Context, l *lasting) (wait time.Duration, ok bool) {
	q, ok := l.marks.ask()
	if !ok {
		return 0, false
	}
	asking, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	mark, err := p.options.Marks.Mark(asking, l.name)
	if l.marks.answer(q, mark, err) {
		return markEvery, true
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		p.log.Debug("no mark", slog.String("capability", l.name), slog.Any("error", err))
	}
	return markBackoff, true
}
