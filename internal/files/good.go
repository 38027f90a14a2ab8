package files

import (
	"bytes"
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
// was removed while no process ran is not believed to be back.
func (s *Store) recall(current map[string][]byte, unreadable []capability.Problem) error {
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
		if _, ok := current[name]; !ok && !there[name] || !isDocument(name) {
			continue
		}
		if good[name], err = os.ReadFile(s.path("good", name)); err != nil {
			return fmt.Errorf("read the last good %s: %w", name, err)
		}
	}
	s.good = good
	return nil
}

// away returns the last good versions of the documents that are not there now
// and are to be served all the same: those that cannot be read, and those that
// vanished a moment ago.
func (s *Store) away(current map[string][]byte, unreadable []capability.Problem) map[string][]byte {
	kept, there := map[string][]byte{}, filesOf(unreadable)
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
		if s.now().Sub(since) < settle {
			kept[file] = content
		} else {
			delete(s.missing, file)
		}
	}
	return kept
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
		if _, ok := contents[entry.Name()]; ok || !isDocument(entry.Name()) {
			continue
		}
		if err := ignoreMissing(os.Remove(filepath.Join(s.path("good"), entry.Name()))); err != nil {
			s.log.Warn("last good document not removed", slog.String("file", entry.Name()), slog.Any("error", err))
		}
	}
}
