// Package documents is what every store does with documents, wherever it keeps
// them: which of them are served while one is broken or gone, and how one is
// edited in place.
//
// It works on contents by file name, and reads and writes none. Where they are
// kept, when they are believed, and what their bytes mean, is the caller's.
package documents

import (
	"errors"
	"path"
	"strings"

	"strangler/capability"
)

// ErrConflict says that somebody else was faster: read again, decide again.
var ErrConflict = errors.New("changed by somebody else in the meantime")

// ErrUnknown says that no document is there for a capability.
var ErrUnknown = errors.New("no document of this capability")

// Folder is where documents are, and what their bytes mean. All must be given.
type Folder struct {
	Dir string // as problems name it
	// Decode turns the contents of documents, by file name, into those that are good
	// and the problems of the others, each with its file below dir.
	Decode func(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem)
	// Apply edits the content of one document in place.
	Apply func(content []byte, edit capability.Edit) ([]byte, error)
}

// IsDocument leaves out what people, editors and stores put beside documents.
func IsDocument(name string) bool {
	extension := path.Ext(name)
	return (extension == ".yaml" || extension == ".yml") && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "#")
}

// FilesOf names the files that have a problem.
func FilesOf(problems []capability.Problem) map[string]bool {
	files := map[string]bool{}
	for _, p := range problems {
		files[path.Base(p.File)] = true
	}
	return files
}

// Begun names the capabilities whose data has begun to move.
func Begun(states map[string]capability.Effective) map[string]bool {
	begun := map[string]bool{}
	for name, state := range states {
		begun[name] = state.Epoch > 0
	}
	return begun
}

// one decodes a document that stands alone.
func (f Folder) one(file string, content []byte) (capability.Document, []capability.Problem) {
	documents, problems := f.Decode(f.Dir, map[string][]byte{file: content})
	if len(documents) != 1 {
		return capability.Document{}, problems
	}
	return documents[0], problems
}
