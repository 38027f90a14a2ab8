package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"strangler/capability"
	"strangler/internal/documents"
)

// Load reads the documents. While one is broken, or gone although the move of its
// capability has begun, its last good version is among them, and its problems are
// returned; so documents and problems may both be there. Where one change spoils
// another document, as a table claimed twice, the change waits and the rest goes
// on. An error means that the directory could not be read at all: keep what you
// have.
func (s *Store) Load(ctx context.Context) ([]capability.Document, []capability.Problem, error) {
	begun, err := s.begun(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("load documents: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	current, unreadable, err := s.read()
	if err != nil {
		return nil, nil, err
	}
	if err := s.recall(current, unreadable, begun); err != nil {
		return nil, nil, err
	}
	kept, gone, waiting := s.away(current, unreadable, begun, settle)
	s.waiting.Store(waiting)
	served := s.folder.Serve(current, s.good, kept)
	s.keep(served.Contents)
	return served.Documents, slices.Concat(unreadable, gone, served.Problems), nil
}

// read returns the content of each document by file name, and a problem for
// each that cannot be read.
func (s *Store) read() (map[string][]byte, []capability.Problem, error) {
	entries, err := os.ReadDir(s.folder.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read the documents: %w", err)
	}
	contents := map[string][]byte{}
	var problems []capability.Problem
	for _, entry := range entries {
		name := entry.Name()
		if !documents.IsDocument(name) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(s.folder.Dir, name))
		switch {
		case err == nil:
			contents[name] = content
		case errors.Is(err, fs.ErrNotExist): // gone since the directory was read
		default:
			problems = append(problems, capability.Problem{
				File: filepath.Join(s.folder.Dir, name), Message: "cannot be read: " + err.Error(), Mend: "make it a file that this user may read",
			})
		}
	}
	return contents, problems, nil
}
