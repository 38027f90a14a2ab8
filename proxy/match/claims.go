package match

import (
	"bytes"
	"slices"
)

// claims are those of one template, by host.
type claims struct {
	exact map[string][]*claim
	wild  map[string][]*claim // by what follows the first label
	any   []*claim
}

func (cs *claims) add(c *claim) {
	switch c.host.kind {
	case exactHost:
		cs.exact = insert(cs.exact, c)
	case wildHost:
		cs.wild = insert(cs.wild, c)
	default:
		cs.any = sorted(cs.any, c)
	}
}

func insert(by map[string][]*claim, c *claim) map[string][]*claim {
	if by == nil {
		by = map[string][]*claim{}
	}
	by[c.host.name] = sorted(by[c.host.name], c)
	return by
}

// sorted inserts a claim behind those that are as specific. Check lets only one
// of them take a method, so the list is as short as there are methods and
// different numbers of conditions.
func sorted(list []*claim, c *claim) []*claim {
	at := len(list)
	for at > 0 && moreSpecific(c, list[at-1]) < 0 {
		at--
	}
	return slices.Insert(list, at, c)
}

// find returns the most specific claim that the request meets.
func (cs *claims) find(s *search) *claim {
	if c := first(cs.exact[string(s.host)], s.request); c != nil {
		return c
	}
	if len(cs.wild) > 0 {
		if dot := bytes.IndexByte(s.host, '.'); dot > 0 {
			if c := first(cs.wild[string(s.host[dot+1:])], s.request); c != nil {
				return c
			}
		}
	}
	return first(cs.any, s.request)
}

func first(list []*claim, q *Request) *claim {
	for _, c := range list {
		if c.meets(q) {
			return c
		}
	}
	return nil
}
