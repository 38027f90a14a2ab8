package documents

import (
	"maps"
	"path"
	"slices"

	"strangler/capability"
)

// Missing is a document that was good and is not there now.
type Missing struct {
	File       string
	Content    []byte // its last good version
	Capability string
	// Needed says that the move of the capability has begun and no other document
	// describes it. Without its routes, the writes of a capability that extracted owns
	// would go to a database that refuses them: it is to be served all the same.
	Needed bool
}

// Missing lists what was good and is not there now, by file name.
func (f Folder) Missing(current, good map[string][]byte, begun map[string]bool) []Missing {
	described := map[string]bool{}
	documents, _ := f.Decode(f.Dir, current)
	for _, d := range documents {
		described[d.Name] = true
	}
	var all []Missing
	for _, file := range slices.Sorted(maps.Keys(good)) {
		if _, there := current[file]; there {
			continue
		}
		name := f.Name(file, good[file])
		all = append(all, Missing{file, good[file], name, begun[name] && !described[name]})
	}
	return all
}

// Name is the capability that one good document names, or nothing.
func (f Folder) Name(file string, content []byte) string {
	d, _ := f.one(file, content)
	return d.Name
}

// Gone is the problem of a document that is needed. saved is where its last good
// version lies; empty: nowhere.
func (f Folder) Gone(m Missing, saved string) capability.Problem {
	return f.Away(m, "although the move of "+m.Capability+" has begun", saved, ", or take the move back with it there: strangler data reset "+m.Capability)
}

// Away is the problem of a document that is served although it is not there, for a
// reason of the store's, with what to do otherwise than put it back.
func (f Folder) Away(m Missing, why, saved, otherwise string) capability.Problem {
	mend := "put it back"
	if saved != "" {
		mend += " from " + saved
	}
	return capability.Problem{File: path.Join(f.Dir, m.File), Message: "is gone, " + why + "; its last version is served", Mend: mend + otherwise}
}
