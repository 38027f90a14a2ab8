package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

// Effective returns the effective state of every capability that has one, by
// name. One that cannot be understood is an error, not an absence. While Consul does
// not answer, what was last read is returned. Nobody ever removes a state or makes
// it older: where Consul has none, or an older one, it has lost data, and the state
// that was read before is returned until a newer one is published.
func (s *Store) Effective(ctx context.Context) (map[string]capability.Effective, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	s.recallStates()
	states, err := s.states(ctx, s.poll(ctx, effective)[effective])
	if err != nil {
		return nil, err
	}
	states = maps.Clone(states)
	for name, state := range states {
		states[name] = owned(state)
	}
	return states, nil
}

// owned returns a state that shares nothing with s.
func owned(s capability.Effective) capability.Effective {
	if s.Attempt != nil {
		own := *s.Attempt
		s.Attempt = &own
	}
	return s
}

// heldStates is one problem for each state that Consul has lost.
func (s *Store) heldStates() (problems []capability.Problem) {
	for _, name := range slices.Sorted(maps.Keys(s.last.held)) {
		problems = append(problems, capability.Problem{
			File:    s.key(effective, name),
			Message: fmt.Sprintf("is lost, or older than what was read before; revision %d is held", s.last.states[name].Revision),
			Mend:    "nothing is to be done: the next state that the controller publishes mends it",
		})
	}
	return problems
}

// states makes of an answer what Effective returns, for who has the turn.
func (s *Store) states(ctx context.Context, a answer) (map[string]capability.Effective, error) {
	if a.err != nil {
		if ctx.Err() != nil || s.last.states == nil {
			return nil, a.err
		}
		s.fellSilent(effective, a.err)
		s.overhear()
		return s.last.states, nil
	}
	s.answered(effective)
	pairs := a.pairs
	states := map[string]capability.Effective{}
	for name, pair := range pairs {
		state, err := decodeState(name, pair.Value)
		if err != nil {
			return nil, fmt.Errorf("read %s from consul: %w", pair.Key, err)
		}
		states[name] = state
	}
	behind := s.behind(pairs)
	for _, name := range behind {
		if !s.last.held[name] {
			s.log.Warn("consul has lost an effective state; the last one is held", slog.String("capability", name),
				slog.Uint64("from", s.last.states[name].Revision), slog.Uint64("to", states[name].Revision))
		}
		states[name] = s.last.states[name]
	}
	s.last.held = map[string]bool{}
	for _, name := range behind {
		s.last.held[name] = true
	}
	s.keepStates(states)
	return states, nil
}

// overhear takes over what a watch has brought before Consul fell silent: it is served
// already, and a start without Consul is to go on from there.
func (s *Store) overhear() {
	states := maps.Clone(s.last.states)
	for name, heard := range s.Heard() {
		if known, ok := states[name]; ok && heard.Revision > known.Revision {
			states[name] = heard
		}
	}
	s.keepStates(states)
}

// behind names the states that are gone from an answer, or older in it than what
// was read before. One that is not understood is not behind, but an error later.
func (s *Store) behind(pairs map[string]*api.KVPair) (names []string) {
	for name, known := range s.last.states {
		pair := pairs[name]
		if pair == nil {
			names = append(names, name)
			continue
		}
		if state, err := decodeState(name, pair.Value); err == nil && state.Revision < known.Revision {
			names = append(names, name)
		}
	}
	return names
}

// Publish stores the state of one capability if its revision is exactly one
// above the stored one (1 where none is), and returns ErrConflict if not. When it
// returns without an error, a majority of Consul's servers has it on disk. After
// another error it may be stored, or may not. It is not in the snapshot before the
// states are read again: clients wait while a state is published, and would for this
// disk too.
func (s *Store) Publish(ctx context.Context, state capability.Effective) error {
	if err := keyName(state.Capability); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	content, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the state of %s: %w", state.Capability, err)
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.recallStates()
	pair, err := s.get(ctx, s.key(effective, state.Capability))
	if err != nil {
		return err
	}
	var stored capability.Effective
	if pair.ModifyIndex > 0 {
		if stored, err = decodeState(state.Capability, pair.Value); err != nil {
			return fmt.Errorf("read %s from consul: %w", pair.Key, err)
		}
	}
	// What Consul has lost is still the state that ours is to follow.
	revision := max(stored.Revision, s.last.states[state.Capability].Revision)
	if state.Revision != revision+1 {
		return fmt.Errorf("publish revision %d of %s over %d: %w", state.Revision, state.Capability, revision, ErrConflict)
	}
	if err := s.swap(ctx, pair.Key, append(content, '\n'), pair.ModifyIndex); err != nil {
		return err
	}
	states := maps.Clone(s.last.states)
	if states == nil {
		return nil // the others are not known, and this one alone would pass for all
	}
	states[state.Capability] = state
	s.last.states = states
	return nil
}

func decodeState(name string, content []byte) (state capability.Effective, err error) {
	if err := json.Unmarshal(content, &state); err != nil {
		return capability.Effective{}, err
	}
	if state.Capability != name {
		return capability.Effective{}, fmt.Errorf("it is the state of %q", state.Capability)
	}
	return state, nil
}

// recallStates reads what an earlier process left, once.
func (s *Store) recallStates() {
	if s.last.states != nil || s.saved == "" {
		return
	}
	files := s.recallFiles(effective)
	if files == nil {
		return
	}
	s.last.states = map[string]capability.Effective{}
	for file, content := range files {
		name, isState := strings.CutSuffix(file, ".json")
		if !isState {
			continue
		}
		state, err := decodeState(name, content)
		if err != nil {
			s.log.Warn("saved state not read", slog.String("file", s.path(effective, file)), slog.Any("error", err))
			continue
		}
		s.last.states[name] = state
	}
}

func (s *Store) keepStates(states map[string]capability.Effective) {
	s.last.states = states
	files := map[string][]byte{}
	for name, state := range states {
		content, err := json.Marshal(state)
		if err != nil || keyName(name) != nil {
			continue // it was decoded from JSON a moment ago; a name of no file is not saved
		}
		files[name+".json"] = append(content, '\n')
	}
	s.keepFiles(effective, files)
}
