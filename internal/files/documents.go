package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strangler/capability"
)

// Load reads the documents. While one is broken, or gone although the move of its
// capability has begun, its last good version is among them, and its problems are returned; so documents and problems may both be
// there. Where one change spoils another document, as a table claimed twice,
// the change waits and the rest goes on. An error means that the directory could
// not be read at all: keep what you have.
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
	kept, gone := s.away(current, unreadable, begun)
	_, problems := s.decode(s.routes, current)
	chosen := s.choose(current, kept, filesOf(problems))
	documents, left := s.decode(s.routes, chosen)
	for file := range filesOf(left) {
		delete(chosen, file)
	}
	s.keep(chosen)
	return documents, slices.Concat(unreadable, gone, problems), nil
}

// read returns the content of each document by file name, and a problem for
// each that cannot be read.
func (s *Store) read() (map[string][]byte, []capability.Problem, error) {
	entries, err := os.ReadDir(s.routes)
	if err != nil {
		return nil, nil, fmt.Errorf("read the documents: %w", err)
	}
	contents := map[string][]byte{}
	var problems []capability.Problem
	for _, entry := range entries {
		name := entry.Name()
		if !IsDocument(name) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(s.routes, name))
		switch {
		case err == nil:
			contents[name] = content
		case errors.Is(err, fs.ErrNotExist): // gone since the directory was read
		default:
			problems = append(problems, capability.Problem{
				File: filepath.Join(s.routes, name), Message: "cannot be read: " + err.Error(), Mend: "make it a file that this user may read",
			})
		}
	}
	return contents, problems, nil
}

// IsDocument leaves out what editors and we ourselves put beside documents.
func IsDocument(name string) bool {
	extension := filepath.Ext(name)
	return (extension == ".yaml" || extension == ".yml") && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "#")
}

// choose returns the contents to serve: all that is new where that is without a
// problem, else what is new in the files that have none, else as many of the
// changes as go together with the last good versions of the others.
func (s *Store) choose(current, kept map[string][]byte, bad map[string]bool) map[string][]byte {
	served := maps.Clone(kept)
	for file, content := range current {
		if !bad[file] {
			served[file] = content
		} else if good, ok := s.good[file]; ok {
			served[file] = good
		}
	}
	if _, problems := s.decode(s.routes, served); len(problems) == 0 {
		return served
	}
	served = maps.Clone(kept)
	for file := range current {
		if good, ok := s.good[file]; ok {
			served[file] = good
		}
	}
	waiting := slices.Sorted(maps.Keys(current))
	for taken := true; taken; {
		taken = false
		waiting = slices.DeleteFunc(waiting, func(file string) bool {
			ok := s.fits(served, file, current[file])
			taken = taken || ok
			return ok
		})
	}
	return served
}

// fits puts the content in place of what is served for the file, if that adds
// no problem anywhere.
func (s *Store) fits(served map[string][]byte, file string, content []byte) bool {
	if old, ok := served[file]; ok && bytes.Equal(old, content) {
		return true
	}
	tried := maps.Clone(served)
	tried[file] = content
	_, before := s.decode(s.routes, served)
	_, after := s.decode(s.routes, tried)
	if len(after) > len(before) || filesOf(after)[file] {
		return false
	}
	served[file] = content
	return true
}

func filesOf(problems []capability.Problem) map[string]bool {
	files := map[string]bool{}
	for _, p := range problems {
		files[filepath.Base(p.File)] = true
	}
	return files
}
