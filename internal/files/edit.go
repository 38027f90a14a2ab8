package files

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"strangler/capability"
)

// Edit changes the document of a capability in place and returns its new
// revision; an edit that changes nothing returns the one it has. It returns
// ErrUnknown where there is no document, ErrConflict where a person saved the
// file meanwhile, and changes nothing where the result would be broken.
func (s *Store) Edit(ctx context.Context, name string, edit capability.Edit) (revision string, err error) {
	err = s.locked(ctx, func() error {
		contents, _, readErr := s.read()
		if readErr != nil {
			return readErr
		}
		revision, err = s.folder.Edit(name, edit, contents, func(file string, content []byte) error {
			return s.rewrite(file, contents[file], content)
		})
		return err
	})
	return revision, err
}

// rewrite replaces the content of a document if it is still the one before.
func (s *Store) rewrite(file string, before, after []byte) error {
	// A link is followed, so that it stays one.
	path, err := filepath.EvalSymlinks(filepath.Join(s.folder.Dir, file))
	if err != nil {
		return fmt.Errorf("find %s: %w", file, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", file, err)
	}
	there, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %s again: %w", file, err)
	}
	if !bytes.Equal(there, before) {
		return ErrConflict
	}
	return replace(path, after, info.Mode().Perm())
}
