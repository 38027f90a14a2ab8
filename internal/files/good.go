package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"strangler/capability"
	"strangler/internal/documents"
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
	good, there := map[string][]byte{}, documents.FilesOf(unreadable)
	for _, entry := range entries {
		name := entry.Name()
		if !documents.IsDocument(name) {
			continue
		}
		content, err := os.ReadFile(s.path("good", name))
		if err != nil {
			return fmt.Errorf("read the last good %s: %w", name, err)
		}
		if _, ok := current[name]; ok || there[name] || begun[s.folder.Name(name, content)] {
			good[name] = content
		}
	}
	s.good = good
	return nil
}

// away returns the last good versions of the documents that are not there now
// and are to be served all the same: those that cannot be read, those that are
// missing for less than patience, of which waiting speaks, and those that are
// needed. The last are problems.
func (s *Store) away(current map[string][]byte, unreadable []capability.Problem, begun map[string]bool, patience time.Duration) (kept map[string][]byte, problems []capability.Problem, waiting bool) {
	kept = map[string][]byte{}
	there := documents.FilesOf(unreadable)
	maps.DeleteFunc(s.missing, func(file string, _ time.Time) bool {
		_, ok := current[file]
		return ok || there[file]
	})
	for _, m := range s.folder.Missing(current, s.good, begun) {
		if there[m.File] {
			kept[m.File] = m.Content
			continue
		}
		since, known := s.missing[m.File]
		if !known {
			since = s.now()
			s.missing[m.File] = since
		}
		switch {
		case s.now().Sub(since) < patience:
			kept[m.File], waiting = m.Content, true
		case m.Needed:
			kept[m.File] = m.Content
			problems = append(problems, s.folder.Gone(m, s.path("good", m.File)))
		default:
			delete(s.missing, m.File)
		}
	}
	return kept, problems, waiting
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
	_, problems, _ := s.away(current, unreadable, begun, 0)
	return problems, nil
}

// begun names the capabilities whose data has begun to move.
func (s *Store) begun(ctx context.Context) (map[string]bool, error) {
	states, err := s.Effective(ctx)
	return documents.Begun(states), err
}

// keep makes the contents the last good ones, in memory and on disk. That the
// disk fails is logged only: serving goes on, and a restart would find an older
// version or none.
func (s *Store) keep(contents map[string][]byte) {
	s.good = contents
	for file, content := range contents {
		if s.kept(file, content) {
			continue
		}
		if err := s.save(content, private, "good", file); err != nil {
			s.log.Warn("last good document not saved", slog.String("file", file), slog.Any("error", err))
		}
	}
	entries, err := os.ReadDir(s.path("good"))
	if err != nil {
		return // nothing was ever saved
	}
	for _, entry := range entries {
		if _, ok := contents[entry.Name()]; ok || !documents.IsDocument(entry.Name()) {
			continue
		}
		if err := ignoreMissing(os.Remove(filepath.Join(s.path("good"), entry.Name()))); err != nil {
			s.log.Warn("last good document not removed", slog.String("file", entry.Name()), slog.Any("error", err))
		}
	}
}

// kept reports whether the content is on disk already, and for nobody else to read:
// a document may hold a password.
func (s *Store) kept(file string, content []byte) bool {
	path := s.path("good", file)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != private {
		return false
	}
	there, err := os.ReadFile(path)
	return err == nil && bytes.Equal(there, content)
}
