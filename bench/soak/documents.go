package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// document is one capability as it is written for the proxy.
type document struct {
	name     string
	routes   []string // flow mappings
	extra    bool     // a route of the name's own is claimed as well
	servers  []*server
	address  string // instead of servers
	protocol string // empty: the default
	weight   int    // per cent
	fixed    bool   // the weight is not changed
	timeout  time.Duration
	mended   bool   // it retries and falls back
	breaker  string // empty: one that stays closed
}

// stayClosed keeps a breaker closed, since an open one would answer instead of the fault that is to be seen, and has it
// count everything from first to last.
const stayClosed = "requests: 1000000, window: 1h"

const documentText = `capability: %s
routes:
  - %s
extracted:
  endpoints: [%s]%s
traffic: {owner: legacy, weight: %d%%, subject: "header:X-User"}
resilience: {timeout: %s, %s, breaker: {%s}}
`

func (d *document) addresses() []string {
	if d.address != "" {
		return []string{d.address}
	}
	all := make([]string, 0, len(d.servers))
	for _, s := range d.servers {
		all = append(all, s.address)
	}
	return all
}

// extraPath is claimed or not, as extra says.
func (d *document) extraPath() string { return "/extra/" + d.name }

func (d *document) text() string {
	routes := slices.Clone(d.routes)
	if d.extra {
		routes = append(routes, "{path: "+d.extraPath()+"}")
	}
	protocol, resilience := "", "retries: 0, fallback: none"
	if d.protocol != "" {
		protocol = "\n  protocol: " + d.protocol
	}
	if d.mended {
		resilience = "retries: 1, fallback: reads"
	}
	breaker := d.breaker
	if breaker == "" {
		breaker = stayClosed
	}
	return fmt.Sprintf(documentText, d.name, strings.Join(routes, "\n  - "), strings.Join(d.addresses(), ", "), protocol, d.weight, d.timeout, resilience, breaker)
}

// book is where the documents are.
type book struct {
	dir    string
	consul *registry  // instead of the folder; nil: none
	mu     sync.Mutex // held while documents change and are written
	all    []*document
}

// change alters one document and puts it in the place of the old one at once: whoever reads the folder sees either.
func (b *book) change(d *document, alter func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	alter()
	if b.consul != nil {
		return b.consul.keep(d.name+".yaml", d.text())
	}
	fresh := filepath.Join(filepath.Dir(b.dir), d.name+".next")
	if err := os.WriteFile(fresh, []byte(d.text()), 0o644); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	if err := os.Rename(fresh, filepath.Join(b.dir, d.name+".yaml")); err != nil {
		return fmt.Errorf("replace document: %w", err)
	}
	return nil
}

func (b *book) named(name string) *document {
	return b.all[slices.IndexFunc(b.all, func(d *document) bool { return d.name == name })]
}

// write writes all of them.
func (b *book) write() error {
	var errs []error
	for _, d := range b.all {
		errs = append(errs, b.change(d, func() {}))
	}
	return errors.Join(errs...)
}

// changeable are the documents whose endpoints come and go.
var changeable = []string{"plain", "shop", "bulk", "streams", "calls"}

// endpointsEach is how many endpoints a changeable capability has at most.
const endpointsEach = 4

// newBook lays out the documents; each changeable one begins with all of its servers.
func newBook(dir string, consul *registry, servers map[string][]*server, failing, breaking string, h2c bool) *book {
	b := &book{dir: dir, consul: consul}
	add := func(d *document) {
		d.servers = slices.Clone(servers[d.name])
		if d.timeout == 0 {
			d.timeout = baseTimeout
		}
		b.all = append(b.all, d)
	}
	add(&document{name: "plain", routes: []string{"{path: /plain/**}"}, weight: 50})
	add(&document{name: "shop", routes: []string{"{path: '/shop/{id:[0-9]+}', methods: [PUT]}", "{path: /shop/search, class: read}"}, weight: 30, mended: true})
	add(&document{name: "bulk", routes: []string{"{path: /bulk/**}"}, weight: 50})
	add(&document{name: "streams", routes: []string{"{path: /streams/**}"}, weight: 50})
	if h2c {
		// The monolith is not asked for calls: it speaks HTTP/1.1.
		add(&document{name: "calls", routes: []string{"{path: /soak.Calls/**}"}, weight: 100, fixed: true, protocol: "h2c"})
	}
	faulty := func(name, address, protocol string, mended bool) {
		add(&document{name: name, address: address, protocol: protocol, weight: 100, fixed: true, timeout: faultsTimeout, mended: mended,
			routes: []string{
				fmt.Sprintf("{path: /%s/**}", name),
				fmt.Sprintf("{path: /%s/search/**, class: read}", name),
				fmt.Sprintf("{path: /%s/slow/**, timeout: %s}", name, slowTimeout),
				fmt.Sprintf("{path: /%s/search/slow/**, class: read, timeout: %s}", name, slowTimeout),
			}})
	}
	add(&document{name: openingName, routes: []string{"{path: /" + openingName + "/**}"}, address: failing, weight: 100, fixed: true, timeout: faultsTimeout, breaker: openingBreaker})
	for name, mended := range map[string]bool{"failing": false, "failing-mended": true, "refusing": false, "refusing-mended": true} {
		faulty(name, failing, "", mended)
	}
	if h2c {
		faulty("breaking", breaking, "h2c", false)
		faulty("breaking-mended", breaking, "h2c", true)
	}
	return b
}

// baseTimeout is far above what anything takes; changes add to it.
const baseTimeout = 20 * time.Second
