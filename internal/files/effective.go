package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"strangler/capability"
)

// Effective returns the effective state of every capability that has one, by
// name. A file that cannot be read is an error, not an absence: whoever routed
// by it goes on with what it had.
func (s *Store) Effective(ctx context.Context) (map[string]capability.Effective, error) {
	states := map[string]capability.Effective{}
	err := s.each(ctx, "effective", func(name string, content []byte) error {
		var state capability.Effective
		if err := json.Unmarshal(content, &state); err != nil {
			return err
		}
		if state.Capability != name {
			return fmt.Errorf("it is the state of %q", state.Capability)
		}
		states[name] = state
		return nil
	})
	return states, err
}

// Publish stores the state of one capability if its revision is exactly one
// above the stored one (1 where none is), and returns ErrConflict if not. When
// it returns without an error the state outlives a power cut.
func (s *Store) Publish(ctx context.Context, state capability.Effective) error {
	if err := fileName(state.Capability); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	content, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the state of %s: %w", state.Capability, err)
	}
	return s.locked(ctx, func() error {
		states, err := s.Effective(ctx)
		if err != nil {
			return err
		}
		if stored := states[state.Capability].Revision; state.Revision != stored+1 {
			return fmt.Errorf("publish revision %d of %s over %d: %w", state.Revision, state.Capability, stored, ErrConflict)
		}
		return s.save(append(content, '\n'), public, "effective", state.Capability+".json")
	})
}

// each calls visit with every JSON file of one directory of the state, in the
// order of their names. A directory that was never made is empty.
func (s *Store) each(ctx context.Context, dir string, visit func(name string, content []byte) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	entries, err := os.ReadDir(s.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	for _, entry := range entries {
		name, isJSON := strings.CutSuffix(entry.Name(), ".json")
		if !isJSON || strings.HasPrefix(name, ".") {
			continue
		}
		content, err := os.ReadFile(s.path(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the directory was read
		}
		if err == nil {
			err = visit(name, content)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.path(dir, entry.Name()), err)
		}
	}
	return nil
}

// fileName refuses names that would lead out of their directory or be passed
// over when it is read.
func fileName(name string) error {
	if name == "" || strings.HasPrefix(name, ".") || name != filepath.Base(name) || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("%q cannot be the name of a file", name)
	}
	return nil
}
