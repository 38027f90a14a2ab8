package documents

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"strangler/capability"
)

// Edit changes the document of a capability in place and returns its new
// revision; an edit that changes nothing replaces nothing, and returns the one it
// has. It returns ErrUnknown where no document is there, and replaces nothing where
// the result would be broken. replace stores the new content of one file, unless
// somebody else has changed that since the contents were read: ErrConflict.
func (f Folder) Edit(name string, edit capability.Edit, contents map[string][]byte, replace func(file string, content []byte) error) (revision string, err error) {
	file, after, document, err := f.edited(name, edit, contents)
	if err == nil && !bytes.Equal(after, contents[file]) {
		err = replace(file, after)
	}
	if err != nil {
		return "", fmt.Errorf("edit the document of %s: %w", name, err)
	}
	return document.Revision, nil
}

// edited finds the document and returns what it would become. A document that
// is broken is found too, if the edit mends it.
func (f Folder) edited(name string, edit capability.Edit, contents map[string][]byte) (string, []byte, capability.Document, error) {
	var reasons []error
	for _, file := range slices.Sorted(maps.Keys(contents)) {
		before, problems := f.one(file, contents[file])
		if len(problems) == 0 && before.Name != name {
			continue
		}
		content, err := f.Apply(contents[file], edit)
		if err == nil {
			after, left := f.one(file, content)
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
