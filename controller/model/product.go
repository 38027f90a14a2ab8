package model

import (
	"strangler/capability"
	"strangler/controller"
)

// product is what the product decides. Every function here calls one of its own
// and remembers the answer; nothing that a controller decides is decided elsewhere.
// The exceptions are the rules that a model does without.
type product struct {
	without  Rule
	verdicts map[[2]gate]capability.Verdict
	asked    map[question]answer
	looks    map[seen]decision
	walks    []capability.Walk // by their number in a ctl
	numbers  map[capability.Walk]uint8
	nexts    map[transition]gateState
}

func newProduct(without Rule) *product {
	p := &product{without: without, verdicts: map[[2]gate]capability.Verdict{}, asked: map[question]answer{}, looks: map[seen]decision{},
		numbers: map[capability.Walk]uint8{}, nexts: map[transition]gateState{}}
	p.number(capability.Walk{})
	return p
}

// number gives a walk a number; 0 is the one that stands before the first step.
func (p *product) number(w capability.Walk) uint8 {
	n, known := p.numbers[w]
	if !known {
		n = uint8(len(p.walks))
		p.walks, p.numbers[w] = append(p.walks, w), n
	}
	return n
}

var identities = [2]capability.Identity{{System: "legacy", Timeline: 1}, {System: "extracted", Timeline: 1}}

// read is a gate as the product reads it.
func (p *product) read(on side, g gate) capability.Gate {
	read := capability.Gate{State: gateStates[g.state], Epoch: uint64(g.epoch), Self: identities[on], Peer: identities[on.other()], Actual: identities[on]}
	if g.strange && p.without&RuleIdentity == 0 {
		read.Actual.Timeline++
	}
	return read
}

func (p *product) pair(l, e gate) (capability.Gate, capability.Gate) {
	return p.read(legacy, l), p.read(extracted, e)
}

// verdict is capability.Decide.
func (p *product) verdict(l, e gate) capability.Verdict {
	v, known := p.verdicts[[2]gate{l, e}]
	if !known {
		v = capability.Decide(p.pair(l, e))
		p.verdicts[[2]gate{l, e}] = v
	}
	return v
}

// question is what is asked about two gates.
type question struct {
	what  asking
	of    side
	epoch uint8 // of the closing
	gates [2]gate
}

type asking uint8

const (
	askClose asking = iota
	askFinish
	askReopen
	askOwns
)

// answer is what is to be done.
type answer struct {
	want statement // nothing: there is nothing to do
	err  bool      // it is not allowed
}

// ask calls capability.Ask, Finish, Reopen and Owns.
func (p *product) ask(q question) answer {
	a, known := p.asked[q]
	if known {
		return a
	}
	l, e := p.pair(q.gates[0], q.gates[1])
	of := capability.Sides[q.of]
	var change capability.Change
	var asked bool
	var err error
	switch q.what {
	case askClose:
		asked = true
		change, err = capability.Ask(of, capability.EventClose, l, e)
	case askFinish:
		change, asked, err = capability.Finish(of, l, e)
		if p.without&RuleLowerEpoch != 0 && l.State == capability.Sealed && e.State == capability.Sealed {
			asked = true
			change, err = capability.Ask(of, capability.EventOpen, l, e)
		}
	case askReopen:
		change, asked, err = capability.Reopen(of, uint64(q.epoch), l, e)
	case askOwns:
		err = capability.Owns(of, l, e)
	}
	a.err = err != nil
	if err == nil && asked {
		a.want = p.statement(change, l, e)
	}
	p.asked[q] = a
	return a
}

// statement is a change as it is sent. Which one is sent for sealing depends on what
// was read, as in the controller.
func (p *product) statement(c capability.Change, l, e capability.Gate) statement {
	own, _ := capability.Sort(c.On, l, e)
	s := statement{on: sideOf(c.On), from: uint8(c.From), to: uint8(c.To)}
	switch c.Event {
	case capability.EventClose:
		s.kind = shut
	case capability.EventOpen:
		s.kind = openIt
	case capability.EventSeal:
		s.kind = sealOpen
		if own.State == capability.Closing {
			s.kind = seal
		}
	case capability.EventReopen:
		panic("only a guard reopens")
	}
	return s
}

// afterSealing is capability.AfterSealing.
func (p *product) afterSealing(of side, read gate, closing uint8) capability.Sealing {
	return capability.AfterSealing(p.read(of, read), uint64(closing))
}

// seen is what a look decides on.
type seen struct {
	cached effective
	gates  [2]gate
}

// decision is what a controller does after a look.
type decision struct {
	mend    statement // nothing: no gate is to be changed
	publish bool
	next    effective
	owner   capability.Side // empty: nobody
}

// look is controller.Decide, about a document that wants what is.
func (p *product) look(cached effective, l, e gate) decision {
	cached.revision = 0
	key := seen{cached, [2]gate{l, e}}
	d, known := p.looks[key]
	if !known {
		d = p.decide(cached, l, e)
		p.looks[key] = d
	}
	return d
}

func (p *product) decide(cached effective, l, e gate) decision {
	verdict := p.verdict(l, e)
	d := decision{owner: verdict.Owner}
	legacyGate, extractedGate := p.pair(l, e)
	owner := verdict.Owner
	if owner == "" {
		owner = capability.Sides[cached.owner]
	}
	o := controller.Observation{
		Document: capability.Document{Name: "orders", Revision: "this", Data: &capability.Data{}, Traffic: capability.Traffic{Owner: owner, Weight: home[owner]}},
		Effective: capability.Effective{Capability: "orders", Revision: 1, Epoch: uint64(cached.epoch), Owner: capability.Sides[cached.owner],
			Weight: home[capability.Sides[cached.owner]], Phase: capability.Steady, HasData: true, Shared: true},
		Data: capability.DataStatus{Phase: capability.PhaseFollowing, Streams: []capability.StreamStatus{
			{From: capability.Legacy, Live: true}, {From: capability.Extracted, Live: true}}},
		Gates: &[2]capability.Gate{legacyGate, extractedGate},
	}
	if cached.switching {
		o.Effective.Phase = capability.Switching
	}
	if cached.running > 0 {
		o.Effective.Attempt = &capability.Attempt{To: capability.Sides[cached.running-1], Document: "this", Outcome: capability.Running}
	}
	decided := controller.Decide(o)
	if decided.Switch != "" {
		panic("nobody wants another owner")
	}
	if v := decided.Verdict; v != nil {
		change, asked, err := v.Mend(legacyGate, extractedGate)
		if err != nil || !asked {
			panic("a verdict that cannot be carried out")
		}
		if v.Action == capability.ActionFinish && p.without&RuleLowerEpoch != 0 {
			change, err = capability.Ask(capability.Sides[record(cached)], capability.EventOpen, legacyGate, extractedGate)
			if err != nil {
				panic(err)
			}
		}
		d.mend = p.statement(change, legacyGate, extractedGate)
	}
	if next := decided.Publish; next != nil {
		d.next = effective{switching: next.Phase == capability.Switching, owner: sideOf(next.Owner), epoch: uint8(next.Epoch)}
		if a := next.Attempt; a != nil && a.Outcome == capability.Running {
			d.next.running = 1 + uint8(sideOf(a.To))
		}
		d.publish = !d.next.same(cached) // or only what is not modelled differs
	}
	return d
}

// home is the weight that sends all reads to the owner.
var home = map[capability.Side]capability.Weight{capability.Legacy: 0, capability.Extracted: capability.Whole}

// record is which side a third record says should own: the state that a controller
// remembers.
func record(cached effective) side {
	if cached.running > 0 {
		return side(cached.running - 1)
	}
	return cached.owner
}

type transition struct {
	from  gateState
	event capability.Event
}

// becomes is the state that capability.Transitions lead to; false: to none.
func (p *product) becomes(from gateState, event capability.Event) (gateState, bool) {
	key := transition{from, event}
	to, known := p.nexts[key]
	if !known {
		to = 0xff
		if next, _, err := capability.Next(capability.Gate{State: gateStates[from]}, capability.Gate{}, event); err == nil {
			to = stateOf(next)
		}
		p.nexts[key] = to
	}
	return to, to != 0xff
}

// reopened is the epoch that a guard gives a gate that it opens.
func (p *product) reopened(g gate) uint8 {
	_, epoch, err := capability.Next(p.read(legacy, g), capability.Gate{}, capability.EventReopen)
	if err != nil {
		panic(err)
	}
	return uint8(epoch)
}
