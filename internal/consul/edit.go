package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"

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
	file, after, document, err := s.edited(name, edit, pairs)
	if err == nil && !bytes.Equal(after, pairs[file].Value) {
		err = s.swap(ctx, pairs[file].Key, after, pairs[file].ModifyIndex)
	}
	if err != nil {
		return "", fmt.Errorf("edit the document of %s: %w", name, err)
	}
	return document.Revision, nil
}

// edited finds the document and returns what it would become. A document that
// is broken is found too, if the edit mends it.
func (s *Store) edited(name string, edit capability.Edit, pairs map[string]*api.KVPair) (string, []byte, capability.Document, error) {
	contents := contentsOf(pairs)
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
	documents, problems := s.decode(s.key(routes), map[string][]byte{file: content})
	if len(documents) != 1 {
		return capability.Document{}, problems
	}
	return documents[0], problems
}
