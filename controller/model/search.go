package model

import (
	"math/bits"
	"time"
)

// Result is what a search has found.
type Result struct {
	States int
	Steps  int // between states
	Depth  int // of the longest of the shortest ways
	Took   time.Duration
	Whole  bool   // everything within the bounds was gone through
	Story  *Story // of a promise that is broken; nil: none is
}

// Search goes through everything that can happen, until a promise is broken or more
// than most states were seen. A promise that is broken is told on a shortest way.
func (m *Model) Search(most int) Result { return m.search(most, nil) }

func (m *Model) search(most int, visit func(*state)) Result {
	began := time.Now()
	s := &search{Model: m, visit: visit, table: make([]uint32, 1<<16)}
	r := s.run(most)
	r.States, r.Took = len(s.keys), time.Since(began)
	return r
}

// search is one search.
type search struct {
	*Model
	visit   func(*state) // sees every state, where somebody wants to
	keys    []key
	parents []uint32
	table   []uint32 // of indices into keys, plus one, by hash
	// The steps that can be taken when everything is well, by their beginning.
	first   []uint32
	healthy []uint32
	good    []bool // is settled, or leads to what is
}

func (s *search) run(most int) (r Result) {
	first := start()
	s.settle(&first)
	s.add(first.pack(), 0)
	level := 1 // index behind the last state of the depth
	var from state
	for i := 0; i < len(s.keys); i++ {
		if i == level {
			r.Depth++
			level = len(s.keys)
		}
		if len(s.keys) > most {
			return r
		}
		from.unpack(s.keys[i])
		if s.visit != nil {
			s.visit(&from)
		}
		s.first = append(s.first, uint32(len(s.healthy)))
		s.good = append(s.good, s.settled(&from))
		bad := -1
		s.successors(&from, func(_ label, next state, healthy bool) {
			r.Steps++
			s.settle(&next)
			at, isNew := s.add(next.pack(), i)
			if healthy && at != i {
				s.healthy = append(s.healthy, uint32(at))
			}
			if isNew && bad < 0 && s.breaks(&next) {
				bad = at
			}
		})
		if bad >= 0 {
			r.Depth++
			r.Story = s.story(bad)
			return r
		}
	}
	r.Whole = true
	if stuck := s.stuck(); stuck >= 0 {
		r.Story = s.story(stuck)
	}
	return r
}

// add returns the index of a state, and whether it was not known.
func (s *search) add(k key, parent int) (at int, isNew bool) {
	if 2*len(s.keys) >= len(s.table) {
		s.grow()
	}
	slot := k.hash() & uint64(len(s.table)-1)
	for s.table[slot] != 0 {
		if at := int(s.table[slot]) - 1; s.keys[at] == k {
			return at, false
		}
		slot = (slot + 1) & uint64(len(s.table)-1)
	}
	s.keys = append(s.keys, k)
	s.parents = append(s.parents, uint32(parent))
	s.table[slot] = uint32(len(s.keys))
	return len(s.keys) - 1, true
}

func (s *search) grow() {
	s.table = make([]uint32, 2*len(s.table))
	for i, k := range s.keys {
		slot := k.hash() & uint64(len(s.table)-1)
		for s.table[slot] != 0 {
			slot = (slot + 1) & uint64(len(s.table)-1)
		}
		s.table[slot] = uint32(i) + 1
	}
}

func (k key) hash() uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, w := range k {
		hi, lo := bits.Mul64(h^w, 0xd6e8feb86659fd93)
		h = hi ^ lo ^ h>>32
	}
	return h
}

// stuck is the first state that no healthy way leads out of to a settled one; -1:
// there is none.
func (s *search) stuck() int {
	heads := make([]uint32, len(s.keys)+1) // of the steps turned around
	for _, to := range s.healthy {
		heads[to+1]++
	}
	for i := range len(s.keys) {
		heads[i+1] += heads[i]
	}
	tails := make([]uint32, len(s.healthy))
	place := append([]uint32{}, heads...)
	for from := range s.keys {
		end := len(s.healthy)
		if from+1 < len(s.first) {
			end = int(s.first[from+1])
		}
		for _, to := range s.healthy[s.first[from]:end] {
			tails[place[to]] = uint32(from)
			place[to]++
		}
	}
	var queue []uint32
	for i, good := range s.good {
		if good {
			queue = append(queue, uint32(i))
		}
	}
	for len(queue) > 0 {
		to := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, from := range tails[heads[to]:heads[to+1]] {
			if !s.good[from] {
				s.good[from] = true
				queue = append(queue, from)
			}
		}
	}
	for i, good := range s.good {
		if !good {
			return i
		}
	}
	return -1
}
