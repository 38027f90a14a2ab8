package config

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"strangler/capability"
)

// Reader decodes the documents of a directory as Documents does, again and again: a
// document is parsed anew only when its bytes have changed, and a set that was
// decoded a moment ago is not decoded again. What ${NAME} stands for is taken to be
// the same for as long as it lives. It is safe for concurrent use.
type Reader struct {
	check func([]capability.Document) []capability.Problem

	mu         sync.Mutex
	young, old map[version]parsed // an old one that is used is young again; guarded by mu
	sets       []decoded          // the latest first; guarded by mu
	parses     int                // how many documents were parsed; guarded by mu
}

// version is one content of one file.
type version struct {
	file    string
	content [sha256.Size]byte
}

type parsed struct {
	document capability.Document
	problems []capability.Problem
}

// decoded is what came of a whole directory.
type decoded struct {
	key       [sha256.Size]byte
	documents []capability.Document
	problems  []capability.Problem
}

// A store decodes what is there, what was good and what it will serve: three sets,
// and one more for each of those that read other things of it. The versions that are
// kept are at most twice as many as fit one generation, which has room for two of each
// document where there are many: a version that is not asked for again soon is waste.
const (
	keptSets   = 8
	generation = 32
)

// NewReader returns a Reader. check adds the problems that documents without one of
// their own have together; nil: none.
func NewReader(check func([]capability.Document) []capability.Problem) *Reader {
	return &Reader{check: check, young: map[version]parsed{}}
}

// Documents decodes all documents of a directory, given by file name. What it returns
// is the caller's.
func (r *Reader) Documents(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem) {
	versions, key := identify(dir, contents)
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.IndexFunc(r.sets, func(d decoded) bool { return d.key == key })
	if at < 0 {
		d := decoded{key: key}
		d.documents, d.problems = documents(versions, func(v version) (capability.Document, []capability.Problem) {
			return r.one(v, contents[filepath.Base(v.file)], len(contents))
		})
		if r.check != nil {
			d.problems = append(d.problems, r.check(d.documents)...)
		}
		r.sets = slices.Insert(r.sets[:min(len(r.sets), keptSets-1)], 0, d)
		at = 0
	}
	d := r.sets[at]
	copy(r.sets[1:at+1], r.sets[:at])
	r.sets[0] = d
	return cloned(d.documents), slices.Clone(d.problems)
}

// one returns what a version says, and parses it if that is not known.
func (r *Reader) one(v version, content []byte, together int) (capability.Document, []capability.Problem) {
	p, known := r.young[v]
	if !known {
		if p, known = r.old[v]; !known {
			p.document, p.problems = Document(v.file, content)
			r.parses++
		}
		if len(r.young) >= max(generation, 2*together) {
			r.young, r.old = map[version]parsed{}, r.young
		}
		r.young[v] = p
	}
	return p.document, slices.Clip(p.problems)
}

// identify tells one set of contents from all others. The versions are in the order of
// the file names.
func identify(dir string, contents map[string][]byte) ([]version, [sha256.Size]byte) {
	var all bytes.Buffer
	versions := make([]version, 0, len(contents))
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		v := version{filepath.Join(dir, name), sha256.Sum256(contents[name])}
		versions = append(versions, v)
		all.WriteString(v.file)
		all.WriteByte(0)
		all.Write(v.content[:])
	}
	return versions, sha256.Sum256(all.Bytes())
}

func cloned(all []capability.Document) []capability.Document {
	out := make([]capability.Document, 0, len(all))
	for _, d := range all {
		out = append(out, d.Clone())
	}
	return out
}
