package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"strangler/capability"
)

// settle is how long a document that has vanished is still served. Editors and
// git put a new version there by moving the old one away first.
const settle = 500 * time.Millisecond

// recall reads the last good versions that an earlier process left, once. What
// was removed while no process ran is not believed to be back, unless its move
// has begun.
func (s *Store) recall(current map[string][]byte, unreadable []capability.Problem, begun map[string]bool) error {
	if s.good != nil {
		return nil
	}
	entries, err := os.ReadDir(s.path("good"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the last good documents: %w", err)
	}
	good, there := map[string][]byte{}, filesOf(unreadable)
	for _, entry := range entries {
		name := entry.Name()
		if !IsDocument(name) {
			continue
		}
		content, err := os.ReadFile(s.path("good", name))
		if err != nil {
			return fmt.Errorf("read the last good %s: %w", name, err)
		}
		if _, ok := current[name]; ok || there[name] || begun[s.capability(name, content)] {
			good[name] = content
		}
	}
	s.good = good
	return nil
}

// away returns the last good versions of the documents that are not there now
// and are to be served all the same: those that cannot be read, those that
// vanished a moment ago, and those of a move that has begun. Without the last, a
// file that is taken away would send the writes of a capability that extracted
// owns to a database that refuses them. They are problems, unless another file
// describes the same capability.
func (s *Store) away(current map[string][]byte, unreadable []capability.Problem, begun map[string]bool) (map[string][]byte, []capability.Problem) {
	kept, there := map[string][]byte{}, filesOf(unreadable)
	described := map[string]bool{}
	documents, _ := s.decode(s.routes, current)
	for _, d := range documents {
		described[d.Name] = true
	}
	var problems []capability.Problem
	for file, content := range s.good {
		if _, ok := current[file]; ok || there[file] {
			delete(s.missing, file)
			if there[file] {
				kept[file] = content
			}
			continue
		}
		since, known := s.missing[file]
		if !known {
			since = s.now()
			s.missing[file] = since
		}
		name := s.capability(file, content)
		switch {
		case s.now().Sub(since) < settle:
			kept[file] = content
		case begun[name] && !described[name]:
			kept[file] = content
			problems = append(problems, capability.Problem{File: filepath.Join(s.routes, file),
				Message: "is gone, although the move of " + name + " has begun; its last version is served",
				Mend:    "put it back from " + s.path("good", file) + ", or take the move back with it there: strangler data reset " + name})
		default:
			delete(s.missing, file)
		}
	}
	return kept, problems
}

// Gone lists the documents that are not there although the move of their
// capability has begun. It changes nothing on disk.
func (s *Store) Gone(ctx context.Context) ([]capability.Problem, error) {
	begun, err := s.begun(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	current, unreadable, err := s.read()
	if err != nil {
		return nil, err
	}
	if err := s.recall(current, unreadable, begun); err != nil {
		return nil, err
	}
	for file := range s.good {
		if _, known := s.missing[file]; !known {
			s.missing[file] = time.Time{} // nobody is asked to wait
		}
	}
	_, problems := s.away(current, unreadable, begun)
	return problems, nil
}

// begun names the capabilities whose data has begun to move.
func (s *Store) begun(ctx context.Context) (map[string]bool, error) {
	states, err := s.Effective(ctx)
	begun := map[string]bool{}
	for name, state := range states {
		begun[name] = state.Epoch > 0
	}
	return begun, err
}

// capability is the name that one good document gives, or nothing.
func (s *Store) capability(file string, content []byte) string {
	documents, _ := s.decode(s.routes, map[string][]byte{file: content})
	if len(documents) != 1 {
		return ""
	}
	return documents[0].Name
}

// keep makes the contents the last good ones, in memory and on disk. That the
// disk fails is logged only: serving goes on, and a restart would find an older
// version or none.
func (s *Store) keep(contents map[string][]byte) {
	s.good = contents
	for file, content := range contents {
		if there, err := os.ReadFile(s.path("good", file)); err == nil && bytes.Equal(there, content) {
			continue
		}
		if err := s.save(content, "good", file); err != nil {
			s.log.Warn("last good document not saved", slog.String("file", file), slog.Any("error", err))
		}
	}
	entries, err := os.ReadDir(s.path("good"))
	if err != nil {
		return // nothing was ever saved
	}
	for _, entry := range entries {
		if _, ok := contents[entry.Name()]; ok || !IsDocument(entry.Name()) {
			continue
		}
		if err := ignoreMissing(os.Remove(filepath.Join(s.path("good"), entry.Name()))); err != nil {
			s.log.Warn("last good document not removed", slog.String("file", entry.Name()), slog.Any("error", err))
		}
	}
}
