package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// lookEvery is how often the catalogs of both sides are looked at.
const lookEvery = 2 * time.Second

// followAlong follows the tables, and goes on with them as they become.
func (m *Mover) followAlong(ctx context.Context, r record) error {
	for {
		m.clashed(nil)
		err := m.follow(ctx, &r)
		m.clashed(err) // which a change of the tables may heal
		if err == nil || ctx.Err() != nil {
			return err
		}
		if r, err = m.adapt(ctx, r, err); err != nil {
			return err
		}
	}
}

// adapt returns the tables as they are to be followed, which have perhaps changed;
// ended is why the streams have ended, if they ran. Where a person has to do
// something first it says what, and blocks until that is done. It returns ended
// where the tables have nothing to do with it.
func (m *Mover) adapt(ctx context.Context, r record, ended error) (record, error) {
	var changed *ChangedError
	again := errors.As(ended, &changed) // whatever there is to be seen by now
	for {
		now, err := survey(ctx, m.Document, m.Legacy, m.Extracted)
		if err != nil {
			return r, errors.Join(ended, err)
		}
		j := differences(now, r.Pairs)
		if len(j.waits) == 0 && unknownValue(ended) {
			for _, what := range unknownValues(now.pairs) {
				j.waits = append(j.waits, what+"; then it goes on by itself")
			}
		}
		switch {
		case len(j.lost) > 0:
			return r, fmt.Errorf("tables or mapping of %s have changed since the move began: %s; change them back, or take the move back with: strangler data reset %s",
				m.Document.Name, strings.Join(j.lost, "; "), m.Document.Name)
		case len(j.ends) > 0:
			return r, &HaltError{
				Reason: "tables or mapping have changed: " + strings.Join(j.ends, "; "),
				Mend: fmt.Sprintf("change back what can be changed back, or make both sides the same and let all rows be compared and mended by: strangler data repair %s; or take the move back with: strangler data reset %s",
					m.Document.Name, m.Document.Name),
			}
		case len(j.waits) > 0:
			again = true
			if err := m.pauseFor(ctx, strings.Join(j.waits, ". ")); err != nil {
				return r, err
			}
			continue
		case !j.different && !again:
			return r, ended
		}
		taken, ok, err := m.takeUp(ctx, r, now)
		if err != nil {
			return r, errors.Join(ended, err)
		}
		if ok {
			return taken, nil
		}
		if err := wait(ctx, nil, time.Now().Add(lookEvery)); err != nil { // somebody is altering them
			return r, err
		}
	}
}

// unknownValue says whether a stream has ended because the target does not know a
// value.
func unknownValue(err error) bool {
	var conflict *ConflictError
	return errors.As(err, &conflict) && conflict.Code == "22P02"
}

// pauseFor tells what the move waits for, and waits a little.
func (m *Mover) pauseFor(ctx context.Context, what string) error {
	m.mu.Lock()
	known := m.phase == capability.PhaseWaiting && m.failure == what
	m.mu.Unlock()
	if !known {
		m.log.Warn("the move waits", "for", what)
		m.enter(capability.PhaseWaiting)
		m.mu.Lock()
		m.failure = what
		m.mu.Unlock()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(lookEvery):
		return nil
	}
}

// takeUp writes down that the tables are followed as they are now, and up to where
// changes may be of what they were. It is false where they change at this moment.
func (m *Mover) takeUp(ctx context.Context, r record, now layout) (record, bool, error) {
	until, forgotten := map[capability.Side]capability.Position{}, map[capability.Side]capability.Position{}
	for _, side := range capability.Sides {
		if side == capability.Extracted && len(now.moved()) == 0 {
			continue
		}
		progress, found, err := m.databases[side.Other()].Progress(ctx, m.Document.Name, side)
		if err != nil {
			return r, false, err
		}
		if !found {
			continue // a stream that is still to be made is one of the tables as they are
		}
		forgotten[side] = progress.Position
		// Behind everything that was written into tables that were not these yet.
		if until[side], err = m.captures[side].Position(ctx); err != nil {
			return r, false, err
		}
	}
	for _, side := range capability.Sides { // at that position they still are the same
		tables, err := m.databases[side].Look(ctx, relations(now.pairs, side))
		if err != nil {
			return r, false, err
		}
		for i, t := range tables {
			if is := now.pairs[i].On(side); !sameTable(is, t) || is.File != t.File {
				return r, false, nil
			}
		}
	}
	next := record{Pairs: now.pairs}
	for _, past := range append(slices.Clone(r.Past), earlier{Pairs: r.Pairs, Until: until}) {
		waiting := false
		for side, position := range past.Until {
			waiting = waiting || forgotten[side] < position
		}
		if waiting {
			next.Past = append(next.Past, past)
		}
	}
	keepMissing(r.Pairs, next.Pairs)
	if err := m.keep(ctx, next); err != nil {
		return r, false, err
	}
	m.log.Info("tables have changed, and are followed as they are now")
	return next, true, nil
}

// keepMissing keeps what old rows had in a column that has been rewritten since:
// changes from before it was there may still be on their way.
func keepMissing(was, is []Pair) {
	for i := range is {
		at := slices.IndexFunc(was, func(p Pair) bool { return p.Legacy.ID == is[i].Legacy.ID && p.Extracted.ID == is[i].Extracted.ID })
		if at < 0 {
			continue
		}
		for _, side := range capability.Sides {
			for n, c := range is[i].On(side).Columns {
				if old, ok := was[at].On(side).Numbered(c.Number); ok && c.Missing == nil {
					is[i].On(side).Columns[n].Missing = old.Missing
				}
			}
		}
	}
}

// watch looks at the catalogs, and ends the streams when tables are not what they
// are followed as.
func (m *Mover) watch(ctx context.Context, f *following) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := m.watchOnce(ctx, f)
		var changed *ChangedError
		if errors.As(err, &changed) {
			return err
		}
		if err != nil && ctx.Err() == nil { // that a database cannot be asked is the streams' to tell
			m.log.Debug("look at the tables", "error", err)
		}
	}
}

func (m *Mover) watchOnce(ctx context.Context, f *following) error {
	ctx, cancel := context.WithTimeout(ctx, 2*lookEvery)
	defer cancel()
	pairs := slices.Clone(f.record.Pairs)
	rewritten := false
	for _, side := range capability.Sides {
		tables, err := m.databases[side].Look(ctx, relations(pairs, side))
		if err != nil {
			return err
		}
		for i, is := range tables {
			was := pairs[i].On(side)
			if !sameTable(was, is) {
				return &ChangedError{Table: was.Relation, Side: side, What: "its catalog says so"}
			}
			if was.File != is.File {
				m.log.Warn("a table was written anew or emptied, and is compared before the next switch", "table", was.Relation.String(), "side", string(side))
				rewritten = true
			}
			is.Key, is.KeyIndex = was.Key, was.KeyIndex
			if side == capability.Legacy {
				pairs[i].Legacy = is
			} else {
				pairs[i].Extracted = is
			}
		}
	}
	m.notice(strings.Join(unknownValues(pairs), ". "))
	if !rewritten {
		return nil
	}
	for _, d := range f.directions {
		d.stream.Changed().Overflow()
	}
	keepMissing(f.record.Pairs, pairs)
	next := record{Pairs: pairs, Past: f.record.Past}
	if err := m.keep(ctx, next); err != nil {
		return err
	}
	*f.record = next
	return nil
}

// notice tells what will keep the move from going on, if nobody does anything.
func (m *Mover) notice(what string) {
	m.mu.Lock()
	known := m.warning == what
	m.warning = what
	m.mu.Unlock()
	if !known && what != "" {
		m.log.Warn("the move will wait", "for", what)
	}
}
