package documents

import (
	"bytes"
	"maps"
	"slices"

	"strangler/capability"
)

// Served is what is served of documents.
type Served struct {
	Contents  map[string][]byte // by file name: the last good ones, from now on
	Documents []capability.Document
	Problems  []capability.Problem // of the current contents
}

// Serve chooses what to serve of the current contents. The last good version
// serves for one that is broken. Where one change spoils another document, as a
// table claimed twice, that change waits and the rest goes on. kept are the versions
// that are served of documents that are not there.
func (f Folder) Serve(current, good, kept map[string][]byte) Served {
	_, problems := f.Decode(f.Dir, current)
	chosen := f.choose(current, good, kept, FilesOf(problems))
	documents, left := f.Decode(f.Dir, chosen)
	for file := range FilesOf(left) {
		delete(chosen, file)
	}
	return Served{chosen, documents, problems}
}

// choose returns the contents to serve: all that is new where that is without a
// problem, else what is new in the files that have none, else as many of the
// changes as go together with the last good versions of the others.
func (f Folder) choose(current, good, kept map[string][]byte, bad map[string]bool) map[string][]byte {
	served := with(kept)
	for file, content := range current {
		if !bad[file] {
			served[file] = content
		} else if last, ok := good[file]; ok {
			served[file] = last
		}
	}
	if _, problems := f.Decode(f.Dir, served); len(problems) == 0 {
		return served
	}
	served = with(kept)
	for file := range current {
		if last, ok := good[file]; ok {
			served[file] = last
		}
	}
	waiting := slices.Sorted(maps.Keys(current))
	for taken := true; taken; {
		taken = false
		waiting = slices.DeleteFunc(waiting, func(file string) bool {
			ok := f.fits(served, file, current[file])
			taken = taken || ok
			return ok
		})
	}
	return served
}

// with begins with what is kept, which may be nothing.
func with(kept map[string][]byte) map[string][]byte {
	served := map[string][]byte{}
	maps.Copy(served, kept)
	return served
}

// fits puts the content in place of what is served for the file, if that adds
// no problem anywhere.
func (f Folder) fits(served map[string][]byte, file string, content []byte) bool {
	if old, ok := served[file]; ok && bytes.Equal(old, content) {
		return true
	}
	tried := maps.Clone(served)
	tried[file] = content
	_, before := f.Decode(f.Dir, served)
	_, after := f.Decode(f.Dir, tried)
	if len(after) > len(before) || FilesOf(after)[file] {
		return false
	}
	served[file] = content
	return true
}
