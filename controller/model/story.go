package model

import (
	"fmt"
	"slices"
	"strings"
)

// label says what has happened at a step, for stories.
type label struct {
	verb    verb
	who     uint8
	a, b, c uint8
}

func act(v verb, c int) label { return label{verb: v, who: uint8(c)} }

type verb uint8

const (
	takesLead verb = iota
	dies
	learns
	connects
	hears
	looks
	sees
	beginsSwitch
	sends
	publishes
	asks
	reads
	drains
	drops
	arrivesLate
	applies
	receives
	hearsProxy
	arrives
	begins
	writes
	isRefused
	commits
	expires
	ends
	breaks
	givesUp
	flushes
	crashes
	failsOver
)

// Story is how a promise came to be broken.
type Story struct {
	Promise string
	How     string
	Lines   []string // one for each step
}

// String is the story as a numbered list, and how it ends.
func (s *Story) String() string {
	var b strings.Builder
	for i, line := range s.Lines {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, line)
	}
	fmt.Fprintf(&b, "     Broken: %s. %s.\n", s.Promise, s.How)
	return b.String()
}

// story tells how a state came about, on a shortest way.
func (s *search) story(at int) *Story {
	way := []int{at}
	for at != 0 {
		at = int(s.parents[at])
		way = append(way, at)
	}
	slices.Reverse(way)
	var now state
	now.unpack(s.keys[0])
	names := asCalled
	story := &Story{}
	for _, to := range way[1:] {
		var taken *label
		var next, settled state
		var moved naming
		s.successors(&now, func(l label, n state, _ bool) {
			if taken != nil {
				return
			}
			like := n
			renamed := s.settle(&like)
			if like.pack() == s.keys[to] {
				taken, next, settled, moved = &l, n, like, renamed
			}
		})
		if taken == nil {
			panic("a step cannot be found again")
		}
		story.Lines = append(story.Lines, s.sentence(*taken, &now, &next, names))
		now, names = settled, names.after(moved)
	}
	story.Promise, story.How = s.broken(&now)
	if story.Promise == "" {
		story.Promise, story.How = PromiseProgress, "there is none"
	}
	return story
}

// after is what everything is called when it has changed places.
func (n naming) after(moved naming) naming {
	was := n
	for i := range n.ctl {
		n.ctl[i], n.proxy[i] = was.ctl[moved.ctl[i]], was.proxy[moved.proxy[i]]
	}
	for i := range n.writer {
		n.writer[i] = was.writer[moved.writer[i]]
	}
	return n
}

func (n naming) controller(c uint8) string { return string('A' + rune(n.ctl[c])) }
func (n naming) proxyNamed(p uint8) string { return string('P' + rune(n.proxy[p])) }
func (n naming) writerNamed(w uint8) string {
	return fmt.Sprintf("writer %d", n.writer[w]+1)
}

// sentence is what the gates say after a step, and the step.
func (m *Model) sentence(l label, before, after *state, n naming) string {
	return fmt.Sprintf("legacy %-11s extracted %-11s  %s", after.gate(legacy), after.gate(extracted), m.tell(l, before, after, n))
}

func (g gate) String() string {
	text := fmt.Sprintf("%s@%d", gateStates[g.state], g.epoch)
	if g.strange {
		text += " (another database)"
	}
	return text
}
