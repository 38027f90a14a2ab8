package config

import (
	"fmt"
	"strings"

	"strangler/capability"
)

// Documents decodes all documents of a directory, given by file name, and
// checks what only shows between them: a capability that has two documents, and
// a table that two capabilities would own. It returns the documents that have
// no problem, ordered by file name, and every problem; of two that clash, the
// later file has it. Routes that overlap are for whoever builds the table.
func Documents(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem) {
	return NewReader(nil).Documents(dir, contents)
}

// documents puts together what one says of each version.
func documents(versions []version, one func(version) (capability.Document, []capability.Problem)) ([]capability.Document, []capability.Problem) {
	var documents []capability.Document
	var problems []capability.Problem
	claims := claimed{names: map[string]string{}, tables: map[string]capability.Document{}}
	for _, v := range versions {
		d, found := one(v)
		found = append(found, claims.clashes(d)...)
		problems = append(problems, found...)
		if len(found) == 0 {
			documents = append(documents, d)
		}
	}
	return documents, problems
}

// claimed is what the documents read so far have taken for themselves.
type claimed struct {
	names  map[string]string              // by name with - as _, the file
	tables map[string]capability.Document // by qualified legacy name, the owner
}

func (c claimed) clashes(d capability.Document) []capability.Problem {
	if d.Name == "" {
		return nil
	}
	// Names of slots allow no dash, so a-b and a_b would share theirs.
	key := strings.ReplaceAll(d.Name, "-", "_")
	if file, taken := c.names[key]; taken {
		return []capability.Problem{{
			File: d.File, Line: 1, Path: "capability", Value: d.Name,
			Message: "is taken by " + file, Mend: "keep one document per capability, with a name of its own",
		}}
	}
	c.names[key] = d.File
	if d.Data == nil {
		return nil
	}
	var problems []capability.Problem
	for i, table := range d.Data.Tables {
		if table.Mode != capability.Move {
			continue
		}
		if owner, taken := c.tables[qualified(table.Table)]; taken && owner.Name != d.Name {
			problems = append(problems, capability.Problem{
				File: d.File, Line: table.Line, Path: fmt.Sprintf("data.tables[%d].table", i), Value: table.Table,
				Message: fmt.Sprintf("is moved by capability %s as well (%s)", owner.Name, owner.File),
				Mend:    "let one of the two move it; `mode: copy` gives the other a copy to read",
			})
			continue
		}
		c.tables[qualified(table.Table)] = d
	}
	return problems
}

// qualified is the table's name with its schema.
func qualified(table string) string {
	if strings.Contains(table, ".") {
		return table
	}
	return "public." + table
}
