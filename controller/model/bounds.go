package model

import "strings"

// Bounds say how much there is of everything.
type Bounds struct {
	Controllers int // 1 or 2
	Proxies     int // up to 2
	Writers     int // sessions or requests at once, up to 3
	Writes      int // committed, up to 3
	// Begin is the highest epoch of a gate at which a switch may yet be begun: 1 is one
	// switch, 3 a second one after the first was taken back, 4 the way there and back.
	Begin int
	Wire  int // statements under way whose sender has given up waiting, up to 2

	Direct    bool // writers that do not come through a proxy
	Snapshots bool // of them, transactions that took their snapshot before they write
	Async     bool // of them, sessions with synchronous_commit = off
	Errors    bool // calls fail, and answers are lost
	Crashes   bool // of controllers, and of databases where that loses something
	Failovers bool // to standbys that have every change of a gate, perhaps not what was applied since
}

// Rule is something that the protocol rests on, and that a model may do without.
type Rule uint32

// The rules of docs/model.md, in its order, and what else is shown to be needed.
const (
	// RuleEpochs: every change of a gate compares the epoch it expects.
	RuleEpochs Rule = 1 << iota
	// RuleLowerEpoch: of two sealed gates the one with the lower epoch is opened.
	RuleLowerEpoch
	// RuleReopen: a guard that finds the lease run out opens the gate durably.
	RuleReopen
	// RuleLock: a guard permits on a locked row only.
	RuleLock
	// RuleMover: nobody but the mover passes a guard.
	RuleMover
	// RuleDurable: changes of gates are durable when they are answered.
	RuleDurable
	// RuleIdentity: nothing is opened beside a database that is not the one of the move.
	RuleIdentity
	// RuleFences: a controller that leads ends the sessions of those before it.
	RuleFences
	// RuleTokens: a stream is applied by whoever has the highest token alone.
	RuleTokens
	// RuleWait: a closing waits for those who are writing.
	RuleWait
	// RuleDrain: nothing is sealed before the marker was applied.
	RuleDrain
	// RuleHear: a controller takes over what somebody else has stored.
	RuleHear
	// RuleIdle: a proxy says that it holds when none of its writes is in flight.
	RuleIdle
)

var ruleNames = []string{"epochs", "lower epoch", "reopen", "lock", "mover", "durable", "identity", "fences", "tokens", "wait", "drain", "hear", "idle"}

func (r Rule) String() string {
	var names []string
	for i, name := range ruleNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
