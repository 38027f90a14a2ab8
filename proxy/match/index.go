package match

import (
	"errors"
	"fmt"
	"net/http"

	"strangler/capability"
)

// Request is what of a request decides which route claims it.
type Request struct {
	Method   string
	Host     string // as the client sent it; a port and a final dot are ignored
	Path     Path
	Header   http.Header // names in canonical form
	RawQuery string
}

// Index finds the route that claims a request. It is immutable and may be used
// by any number of goroutines.
type Index struct {
	root  node
	hosts bool // some route asks for a host
}

// Compile makes an index of a list of routes, those of all capabilities. An error
// names every route that is none; the index goes without them. Of two routes that tie,
// which Check refuses, the first in the list takes the request.
func Compile(routes []capability.Route) (*Index, error) {
	x := &Index{}
	var wrong []error
	for place, r := range routes {
		c, faults := compilations.claim(place, r)
		for _, f := range faults {
			wrong = append(wrong, fmt.Errorf("compile route %d, %s: %s %q: %s", place, r.Path, f.field, f.value, f.message))
		}
		if len(faults) > 0 {
			continue
		}
		x.root.add(c)
		x.hosts = x.hosts || c.host.kind != anyHost
	}
	return x, errors.Join(wrong...)
}

// Find returns the place of the most specific route that claims the request, in
// the list that was compiled; ok is false if none does. Whether the route allows
// what is odd in the path is its caller's question, because the answer is a
// refusal and not another route. It does not allocate.
func (x *Index) Find(q *Request) (route int, ok bool) {
	s := search{request: q}
	var buf hostBuffer
	if x.hosts {
		s.host = hostname(&buf, q.Host)
	}
	c := s.under(&x.root, 0)
	if c == nil {
		return 0, false
	}
	return c.place, true
}
