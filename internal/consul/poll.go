package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

var errLate = errors.New("no answer, while other questions have one")

// answer is what came to the question for one folder.
type answer struct {
	dir   string
	pairs map[string]*api.KVPair // by the rest of their keys
	err   error
}

// question is one folder that is asked for.
type question struct {
	dir    string
	begun  atomic.Bool // its answer has begun to come
	giveUp context.CancelCauseFunc
}

// quiet is the time after a question that had no answer.
type quiet struct {
	until time.Time
	err   error // what came instead
}

// silence is of a folder that has no answer.
type silence struct {
	since time.Time
	err   error // what came instead of the last answer
}

// poll asks for folders, all at once, and blocks until each has an answer, for at
// most the time of one. A question that gets nothing a moment after another has its
// answer is given up: what does answer is not to wait for what does not. A folder
// that has just not answered is not asked again for a while, or whoever comes next
// would wait as long for the same. Called by who has the turn.
func (s *Store) poll(caller context.Context, dirs ...string) map[string]answer {
	ctx, cancel := context.WithTimeout(caller, s.bounds.answer)
	defer cancel()
	answers := map[string]answer{}
	heard := make(chan answer, len(dirs))
	var questions []*question
	for _, dir := range dirs {
		if q := s.quiet[dir].Load(); q != nil && s.now().Before(q.until) {
			answers[dir] = answer{dir: dir, err: q.err}
			continue
		}
		own, giveUp := context.WithCancelCause(ctx)
		q := &question{dir: dir, giveUp: giveUp}
		questions = append(questions, q)
		go func() {
			defer giveUp(nil)
			pairs, err := s.confirmed(own, q)
			if err != nil && errors.Is(context.Cause(own), errLate) {
				err = fmt.Errorf("list %s in consul: %w", s.key(dir), errLate)
			}
			heard <- answer{dir, pairs, err}
		}()
	}
	late := func() {
		for _, q := range questions {
			if !q.begun.Load() {
				q.giveUp(errLate)
			}
		}
	}
	for range questions {
		a := <-heard
		answers[a.dir] = a
		switch {
		case a.err == nil:
			lag := time.AfterFunc(s.bounds.lag, late)
			defer lag.Stop()
		case caller.Err() == nil:
			s.quiet[a.dir].Store(&quiet{s.now().Add(s.bounds.recheck / 2), a.err})
		}
	}
	return answers
}

// confirmed asks for a folder, and once more, of a leader that has made sure that it
// leads, when the answer lacks what was there: losses are rare, and a leader that has
// been deposed, or is new, may not know better.
func (s *Store) confirmed(ctx context.Context, q *question) (map[string]*api.KVPair, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { q.begun.Store(true) }})
	pairs, err := s.list(ctx, q.dir, false)
	if err != nil || !s.lost(q.dir, pairs) {
		return pairs, err
	}
	q.begun.Store(false)
	return s.list(ctx, q.dir, true)
}

// lost says whether an answer lacks what was good last.
func (s *Store) lost(dir string, pairs map[string]*api.KVPair) bool {
	if dir == effective {
		return len(s.behind(pairs)) > 0
	}
	return s.lacks(contentsOf(pairs))
}

// fellSilent notes that a folder has no answer, and answered that it has one.
func (s *Store) fellSilent(dir string, err error) {
	s.unsure.Store(true)
	before, known := s.last.silent[dir]
	if !known {
		before.since = s.now()
		s.log.Warn("consul does not answer; what was last good is served", slog.String("folder", s.key(dir)), slog.Any("error", err))
	}
	s.last.silent[dir] = silence{before.since, err}
}

func (s *Store) answered(dir string) {
	s.quiet[dir].Store(nil)
	if before, known := s.last.silent[dir]; known {
		s.log.Info("consul answers again", slog.String("folder", s.key(dir)), slog.Duration("after", s.now().Sub(before.since)))
		delete(s.last.silent, dir)
	}
}
