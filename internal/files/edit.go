package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"strangler/capability"
)

// Edit changes the document of a capability in place and returns its new
// revision; an edit that changes nothing returns the one it has. It returns
// ErrUnknown where there is no document, ErrConflict where a person saved the
// file meanwhile, and changes nothing where the result would be broken.
func (s *Store) Edit(ctx context.Context, name string, edit capability.Edit) (revision string, err error) {
	err = s.locked(ctx, func() error {
		if revision, err = s.edit(name, edit); err != nil {
			return fmt.Errorf("edit the document of %s: %w", name, err)
		}
		return nil
	})
	return revision, err
}

func (s *Store) edit(name string, edit capability.Edit) (string, error) {
	contents, _, err := s.read()
	if err != nil {
		return "", err
	}
	file, after, document, err := s.edited(name, edit, contents)
	if err != nil {
		return "", err
	}
	if bytes.Equal(after, contents[file]) {
		return document.Revision, nil
	}
	// A link is followed, so that it stays one.
	path, err := filepath.EvalSymlinks(filepath.Join(s.routes, file))
	if err != nil {
		return "", fmt.Errorf("find %s: %w", file, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", file, err)
	}
	there, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read %s again: %w", file, err)
	}
	if !bytes.Equal(there, contents[file]) {
		return "", ErrConflict
	}
	return document.Revision, replace(path, after, info.Mode().Perm())
}

// edited finds the document and returns what it would become. A document that
// is broken is found too, if the edit mends it.
func (s *Store) edited(name string, edit capability.Edit, contents map[string][]byte) (string, []byte, capability.Document, error) {
	var reasons []error
	for _, file := range slices.Sorted(maps.Keys(contents)) {
		before, problems := s.one(file, contents[file])
		if len(problems) == 0 && before.Name != name {
			continue
		}
		content, err := s.apply(contents[file], edit)
		if err == nil {
			after, left := s.one(file, content)
			if len(left) == 0 && after.Name == name {
				return file, content, after, nil
			}
			problems = left
		}
		if len(problems) == 0 {
			return "", nil, capability.Document{}, err
		}
		for _, p := range problems {
			reasons = append(reasons, p)
		}
	}
	if len(reasons) == 0 {
		return "", nil, capability.Document{}, ErrUnknown
	}
	// Its own may be among the broken ones.
	unknown := fmt.Errorf("%w that can be read; mend these first", ErrUnknown)
	return "", nil, capability.Document{}, errors.Join(append([]error{unknown}, reasons...)...)
}

func (s *Store) one(file string, content []byte) (capability.Document, []capability.Problem) {
	documents, problems := s.decode(s.routes, map[string][]byte{file: content})
	if len(documents) != 1 {
		return capability.Document{}, problems
	}
	return documents[0], problems
}
