package config

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"

	"strangler/capability"
)

var (
	nameForm = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	nameMost = 40 // slots and publications are named after it, in 63 bytes
)

// Document decodes the document of one capability. The file is for messages
// alone. Every problem is returned at once; with any, the document must not be
// used.
func Document(file string, content []byte) (capability.Document, []capability.Problem) {
	return document(file, content, os.LookupEnv)
}

func document(file string, content []byte, lookup func(string) (string, bool)) (capability.Document, []capability.Problem) {
	r := &reading{file: file, lookup: lookup}
	d := capability.Document{
		File: file, Revision: revision(content), Traffic: defaultTraffic(), Resilience: defaultResilience(),
	}
	root := r.tree(content)
	if root == nil {
		return d, r.problems
	}
	s := r.section("", root)
	if v, ok := s.need("capability", "name it, as in `capability: orders`"); ok {
		d.Name = v.name()
	}
	d.Traffic.Salt = d.Name
	if v, ok := s.need("routes", "list what it claims, as in `- path: /api/orders`"); ok {
		d.Routes = v.routes()
	}
	if v, ok := s.need("extracted", "write `extracted: {endpoints: [http://127.0.0.1:9003]}`"); ok {
		d.Extracted = v.extracted()
	}
	if v, ok := s.take("traffic"); ok {
		v.traffic(&d.Traffic)
	}
	if v, ok := s.take("resilience"); ok {
		v.resilience(&d.Resilience)
	}
	if v, ok := s.take("rollout"); ok {
		d.Rollout = v.rollout()
	}
	if v, ok := s.take("data"); ok {
		d.Data = v.data()
	}
	s.close()
	return d, r.problems
}

func revision(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// name reads the name of a capability or of a group of them.
func (v value) name() string {
	name, ok := v.text()
	if ok && (!nameForm.MatchString(name) || len(name) > nameMost) {
		v.problem("is no name", "write at most 40 of a-z, 0-9, _ and -, a letter first")
		return ""
	}
	return name
}
