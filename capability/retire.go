package capability

import "fmt"

// UseKind is a way in which a capability's legacy tables are still needed.
type UseKind string

// What keeps a capability from being retired unless it is named.
const (
	UseScans      UseKind = "scans"      // somebody reads the tables
	UseDependents UseKind = "dependents" // something in the database is made of them
	UseCopies     UseKind = "copies"     // the extracted side reads copies that legacy feeds
)

// UseKinds lists all of them.
var UseKinds = []UseKind{UseScans, UseDependents, UseCopies}

// Use is one reason not to retire a capability yet.
type Use struct {
	Kind UseKind `json:"kind"`
	What string  `json:"what"` // a sentence
}

// ParseUseKind reads the name of a kind.
func ParseUseKind(text string) (UseKind, error) {
	for _, k := range UseKinds {
		if text == string(k) {
			return k, nil
		}
	}
	return "", fmt.Errorf("%q is none of %v", text, UseKinds)
}
