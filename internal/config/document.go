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

// Document decodes the document of one capability. The file is for messages, and
// files that the document names are relative to it; nothing is read from there.
// Every problem is returned at once; with any, the document must not be used.
func Document(file string, content []byte) (capability.Document, []capability.Problem) {
	return document(file, content, os.LookupEnv)
}

func document(file string, content []byte, lookup func(string) (string, bool)) (capability.Document, []capability.Problem) {
	r := newReading(file, lookup)
	d := r.document(content)
	return d, r.found()
}

func (r *reading) document(content []byte) capability.Document {
	d := capability.Document{
		File: r.file, Revision: revision(content), Traffic: defaultTraffic(), Resilience: defaultResilience(),
	}
	root := r.tree(content)
	if root == nil {
		return d
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
		fill(v, upstreamKeys, &d.Extracted)
		r.checkUpstream("extracted", d.Extracted)
	}
	if v, ok := s.take("traffic"); ok {
		fill(v, trafficKeys, &d.Traffic)
		r.checkTraffic(&d.Traffic)
	}
	if v, ok := s.take("resilience"); ok {
		fill(v, resilienceKeys, &d.Resilience)
		r.checkBreaker("resilience.breaker", d.Resilience.Breaker)
	}
	if v, ok := s.take("breakers"); ok {
		fill(v, modeKeys, &d.Breakers)
	}
	if v, ok := s.take("rollout"); ok {
		d.Rollout = v.rollout()
	}
	hooks, hooked := s.take("webhooks")
	if hooked {
		d.Webhooks.Timeout = webhookTimeout
		fill(hooks, webhookKeys, &d.Webhooks)
	}
	if v, ok := s.take("data"); ok {
		d.Data = v.data()
		r.checkRetired(d)
	}
	if hooked && d.Data == nil {
		hooks.problem("is told of no switch: only the owner of data is switched", "add a data section, or take it out")
	}
	s.close()
	return d
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
