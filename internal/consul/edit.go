package consul

import (
	"context"

	"strangler/capability"
)

// Edit changes the document of a capability in place and returns its new
// revision; an edit that changes nothing returns the one it has. It returns
// ErrUnknown where there is no document, ErrConflict where somebody else changed
// it meanwhile, and changes nothing where the result would be broken.
func (s *Store) Edit(ctx context.Context, name string, edit capability.Edit) (revision string, err error) {
	pairs, err := s.list(ctx, routes, true)
	if err != nil {
		return "", err
	}
	return s.folder.Edit(name, edit, contentsOf(pairs), func(file string, content []byte) error {
		return s.swap(ctx, pairs[file].Key, content, pairs[file].ModifyIndex)
	})
}
