// Package documentstest is a small language of documents for the tests of stores:
// lines of `name orders`, `weight 5%` and `table t`, of which a broken one has
// `broken`. A table and a name belong to one document only.
package documentstest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"strangler/capability"
)

// Decode decodes documents. The revision of one is its content.
func Decode(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem) {
	var documents []capability.Document
	var problems []capability.Problem
	names, tables := map[string]bool{}, map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(contents)) {
		d := capability.Document{File: path.Join(dir, file), Revision: fmt.Sprintf("%x", contents[file])}
		before := len(problems)
		problem := func(message string) {
			problems = append(problems, capability.Problem{File: d.File, Message: message})
		}
		for line := range strings.Lines(string(contents[file])) {
			key, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch key {
			case "name":
				d.Name = text
			case "weight":
				weight, err := capability.ParseWeight(text)
				if d.Traffic.Weight = weight; err != nil {
					problem(err.Error())
				}
			case "table":
				if tables[text] {
					problem("table twice: " + text)
				}
				tables[text] = true
			case "broken":
				problem("broken")
			}
		}
		if len(problems) == before && (d.Name == "" || names[d.Name]) {
			problem("no name of its own")
		}
		names[d.Name] = true
		if len(problems) == before {
			documents = append(documents, d)
		}
	}
	return documents, problems
}

// Apply writes the weight of an edit over the first one of the document.
func Apply(content []byte, edit capability.Edit) ([]byte, error) {
	at := bytes.Index(content, []byte("weight "))
	if at < 0 {
		return nil, errors.New("no weight")
	}
	end := at + bytes.IndexByte(content[at:], '\n')
	return slices.Concat(content[:at], []byte("weight "+edit.Weight.String()), content[end:]), nil
}

// Show writes what a store loads on one line: each capability with its weight, then
// the file of each problem.
func Show(documents []capability.Document, problems []capability.Problem) string {
	var words []string
	for _, d := range documents {
		words = append(words, d.Name+"="+d.Traffic.Weight.String())
	}
	for _, p := range problems {
		words = append(words, "!"+path.Base(p.File))
	}
	return strings.Join(words, " ")
}
