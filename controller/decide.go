package controller

import (
	"fmt"
	"time"

	"strangler/capability"
)

// Bounds of the lag within which subjects may read from the side that does not
// own. A weight is taken up below the first and given back above the second, so
// that a burst does not make it flap.
const (
	lagToRaise = 5 * time.Second
	lagToKeep  = 30 * time.Second
)

// Observation is what a decision is made from. Everything in it was read by the
// caller; nothing is read while deciding.
type Observation struct {
	Document  capability.Document
	Effective capability.Effective
	Data      capability.DataStatus
	// Refuse is why the document's data section cannot be followed, or empty.
	Refuse string
	// Retired is when the capability was retired, or was found to be; zero: it is not.
	Retired time.Time
	// Gates is nil when they could not be read or do not exist yet.
	Gates *[2]capability.Gate // legacy, extracted
}

// Decision is the one thing to do next.
type Decision struct {
	// Publish is the next effective state, nil when it stays.
	Publish *capability.Effective
	// Verdict is set when a gate must be changed first.
	Verdict *capability.Verdict
	// Switch is the side that the document wants as owner, when it should be
	// tried now.
	Switch capability.Side
}

// Decide compares what is with what the document wants. It never asks for two
// things: gates first, then what proxies believe of the owner, then a switch,
// then weights.
func Decide(o Observation) Decision {
	if !o.Retired.IsZero() {
		return publish(o.Effective, retired(o))
	}
	next := o.Effective
	// A move that has begun is not over because its section is gone: the gates
	// still stand, and writes follow their owner.
	next.HasData = o.Document.Data != nil || o.Effective.Epoch > 0
	if o.Gates != nil {
		verdict := capability.Decide(o.Gates[0], o.Gates[1])
		switch verdict.Action {
		case capability.ActionUndo, capability.ActionFinish, capability.ActionSeal:
			return Decision{Verdict: &verdict}
		case capability.ActionStop:
			return publish(o.Effective, stopped(o, next, verdict.Why))
		case capability.ActionNone:
			next = follow(next, verdict.Owner, o.Gates)
		}
	} else if next.Phase == capability.Switching {
		return Decision{} // the gates will tell, when they can be read
	}
	if next.Owner != o.Effective.Owner || next.Phase != o.Effective.Phase || next.Epoch != o.Effective.Epoch {
		return publish(o.Effective, next)
	}
	wanted := o.Document.Traffic.Owner
	tried := next.Attempt != nil && next.Attempt.Document == o.Document.Revision
	if next.HasData && wanted != next.Owner && !tried && o.Refuse == "" {
		return Decision{Switch: wanted}
	}
	if !next.HasData {
		next.Owner = wanted
	}
	next.Weight, next.Refused = weigh(o, next)
	next.Shared = shared(o, next)
	if wanted != next.Owner && tried && next.Attempt.Outcome == capability.Undone {
		next.Refused = fmt.Sprintf("owner: %s was tried and undone: %s; change the document, or type the command, to try again", wanted, next.Attempt.Reason)
	}
	if o.Refuse != "" {
		next.Refused = o.Refuse
	}
	next.Mirror = o.Document.Traffic.Mirror
	return publish(o.Effective, next)
}

// stopped is the state beside a database that is not the one of the move. A person
// has to look; until then nothing but the owner's side is trusted, and writes that a
// switch has held go to the side that took them last, if the gates show one.
func stopped(o Observation, next capability.Effective, why string) capability.Effective {
	if owner, ok := capability.Unsealed(o.Gates[0], o.Gates[1]); ok && next.Phase == capability.Switching {
		next = follow(next, owner, o.Gates)
	}
	if next.Owner != o.Effective.Owner {
		next.Weight = home(next.Owner)
	} else if weight, unfit := weigh(o, next); unfit != "" {
		next.Weight = weight
	}
	next.Refused, next.Shared = "needs verify: "+why, false
	return next
}

// home is the weight that sends all reads to the owner.
func home(owner capability.Side) capability.Weight {
	if owner == capability.Extracted {
		return capability.Whole
	}
	return 0
}

// follow takes the owner off the gates. A switch that the gates know to be over
// is over for the proxies too.
func follow(state capability.Effective, owner capability.Side, gates *[2]capability.Gate) capability.Effective {
	gate := gates[0]
	if owner == capability.Extracted {
		gate = gates[1]
	}
	if state.Attempt != nil && state.Attempt.Outcome == capability.Running {
		ended := *state.Attempt
		ended.Outcome = capability.Done
		if owner != ended.To {
			ended.Outcome, ended.Reason = capability.Undone, "the controller that ran it ended"
		}
		state.Attempt = &ended
	}
	state.Owner, state.Phase, state.Epoch, state.Since = owner, capability.Steady, gate.Epoch, gate.Since
	return state
}

// weigh returns the weight that can be honoured, and why when it is not the one
// in the document.
func weigh(o Observation, next capability.Effective) (capability.Weight, string) {
	wanted, home := o.Document.Traffic.Weight, home(next.Owner)
	if !next.HasData || wanted == home {
		return wanted, ""
	}
	bound := lagToRaise
	if o.Effective.Weight != home {
		bound = lagToKeep
	}
	if why := unfit(o.Data, next.Owner, bound); why != "" {
		return home, fmt.Sprintf("weight %s is not in effect: %s", wanted, why)
	}
	return wanted, ""
}

// shared reports whether reads may go to the side that does not own. Like a
// weight it is granted below the one bound and taken back above the other.
func shared(o Observation, next capability.Effective) bool {
	bound := lagToRaise
	if o.Effective.Shared {
		bound = lagToKeep
	}
	return next.HasData && unfit(o.Data, next.Owner, bound) == ""
}

// unfit says why the side that does not own cannot serve reads; empty when it
// can.
func unfit(data capability.DataStatus, owner capability.Side, bound time.Duration) string {
	switch data.Phase {
	case capability.PhaseFollowing:
	case capability.PhaseNone, "":
		return "the move of the data has not begun"
	default:
		return fmt.Sprintf("the data is not on both sides (%s)", data.Phase)
	}
	for _, s := range data.Streams {
		if s.From != owner {
			continue
		}
		if !s.Live {
			return fmt.Sprintf("the stream from %s is down: %s", owner, s.Error)
		}
		if s.Lag > bound {
			return fmt.Sprintf("the data lags by %s, more than %s", s.Lag.Round(time.Millisecond), bound)
		}
		return ""
	}
	return fmt.Sprintf("there is no stream from %s", owner)
}

// publish asks for the next state if it differs from the one that is.
func publish(is, next capability.Effective) Decision {
	if same(is, next) {
		return Decision{}
	}
	next.Revision = is.Revision + 1
	return Decision{Publish: &next}
}

func same(a, b capability.Effective) bool {
	sameAttempt := a.Attempt == b.Attempt || a.Attempt != nil && b.Attempt != nil && *a.Attempt == *b.Attempt
	return sameAttempt && a.Epoch == b.Epoch && a.Owner == b.Owner && a.Weight == b.Weight && a.Mirror == b.Mirror &&
		a.Phase == b.Phase && a.HasData == b.HasData && a.Shared == b.Shared && a.Refused == b.Refused && a.Since.Equal(b.Since) && a.Retired.Equal(b.Retired)
}
