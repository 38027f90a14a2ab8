package consul

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strangler/capability"
	"strangler/internal/documents"
)

// lacks says whether the documents lack one that was there before.
func (s *Store) lacks(current map[string][]byte) bool {
	for file := range s.last.documents {
		if _, ok := current[file]; !ok {
			return true
		}
	}
	return false
}

// away returns the last good versions of the documents that Consul has no more and
// that are served all the same: those that are needed, all of them while nobody says
// which are, and for the time of our patience all of them when nothing is left. Where
// all states are gone as well, which nobody ever removes, Consul has lost its data:
// then they are kept until there is a document again.
func (s *Store) away(current map[string][]byte, begun map[string]bool) (kept map[string][]byte, astray, emptiness []capability.Problem) {
	kept = map[string][]byte{}
	switch {
	case len(current) > 0 || len(s.last.documents) == 0:
		s.last.emptied, s.last.wiped = time.Time{}, false
	case s.last.emptied.IsZero():
		s.last.emptied = s.now()
	}
	s.last.wiped = s.last.wiped || !s.last.emptied.IsZero() && len(s.last.states) > 0 && len(s.last.held) == len(s.last.states)
	emptied := !s.last.emptied.IsZero() && s.now().Sub(s.last.emptied) < s.bounds.patience
	_, unsaid := s.last.silent[effective]
	for _, m := range s.folder.Missing(current, s.last.documents, begun) {
		switch {
		case m.Needed:
			astray = append(astray, s.folder.Gone(m, s.savedAt(m.File)))
		case unsaid:
		case s.last.wiped:
			emptiness = append(emptiness, s.folder.Away(m, "with all others and every state at once, as when consul has lost its data", s.savedAt(m.File), "; it is served until a document is there again"))
		case emptied:
			emptiness = append(emptiness, s.folder.Away(m, "with all others at once", s.savedAt(m.File), "; it is believed after "+s.bounds.patience.String()))
		default:
			continue
		}
		kept[m.File] = m.Content
	}
	if len(kept) == 0 {
		s.last.emptied = time.Time{} // believed
	}
	return kept, astray, emptiness
}

// savedAt is where the last good version of a document lies; empty: nowhere.
func (s *Store) savedAt(file string) string {
	if s.saved == "" {
		return ""
	}
	return s.path(routes, file)
}

// Gone lists the documents that are not there although the move of their
// capability has begun. It changes nothing on disk.
func (s *Store) Gone(ctx context.Context) ([]capability.Problem, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	s.recallStates()
	s.recallDocuments()
	answers := s.poll(ctx, routes, effective)
	states, err := s.states(ctx, answers[effective])
	if err = errors.Join(err, answers[routes].err); err != nil {
		return nil, err
	}
	_, problems, _ := s.away(contentsOf(answers[routes].pairs), documents.Begun(states))
	return problems, nil
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.saved}, parts...)...)
}

// recallDocuments reads what an earlier process left, once. What Consul does not
// have any more is sorted out by away, like everything that is gone.
func (s *Store) recallDocuments() {
	if s.last.documents != nil || s.saved == "" {
		return
	}
	saved := s.recallFiles(routes)
	for file := range saved {
		if !isDocument(file) {
			delete(saved, file)
		}
	}
	s.last.documents = saved
}

// recallFiles reads a directory of the snapshot; nil when there is none. A file
// that cannot be read is passed over: Consul may have it, and it is its snapshot only.
func (s *Store) recallFiles(dir string) map[string][]byte {
	entries, err := os.ReadDir(s.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.log.Warn("saved files not read", slog.String("directory", s.path(dir)), slog.Any("error", err))
		return nil
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue // not whole yet
		}
		content, err := os.ReadFile(s.path(dir, entry.Name()))
		if err != nil {
			s.log.Warn("saved file not read", slog.String("file", s.path(dir, entry.Name())), slog.Any("error", err))
			continue
		}
		files[entry.Name()] = content
	}
	return files
}

// keepDocuments makes the contents the last good ones, in memory and on disk. That
// the disk fails is logged only: serving goes on, and a start without Consul would
// find an older version or none.
func (s *Store) keepDocuments(contents map[string][]byte) {
	s.last.documents = contents
	s.keepFiles(routes, contents)
}

func (s *Store) keepFiles(dir string, files map[string][]byte) {
	if s.saved == "" {
		return
	}
	// The directory alone says that Consul was heard, and had nothing.
	if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
		s.log.Warn("directory of the snapshot not made", slog.Any("error", err))
	}
	there, known := s.last.disk[dir]
	if !known {
		there = s.recallFiles(dir)
	}
	if there == nil {
		there = map[string][]byte{}
	}
	s.last.disk[dir] = there
	for file, content := range files {
		if old, ok := there[file]; ok && bytes.Equal(old, content) {
			continue
		}
		if err := replaceFile(s.path(dir, file), content); err != nil {
			s.log.Warn("last good version not saved", slog.String("file", file), slog.Any("error", err))
			continue // and tried again the next time
		}
		there[file] = content
	}
	for file := range there {
		if _, ok := files[file]; ok {
			continue
		}
		if err := os.Remove(s.path(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("last good version not removed", slog.String("file", file), slog.Any("error", err))
			continue
		}
		delete(there, file)
	}
}
