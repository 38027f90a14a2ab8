package breaker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
)

// Options are what a breaker takes besides its settings. The clock is not among
// them: gobreaker reads its own.
type Options struct {
	// Rand returns numbers in [0, 1) that spread the open times; left out,
	// rand.Float64.
	Rand func() float64
	// OnChange is told every change of the state, in order, by one goroutine at a
	// time and without any lock held: it may ask the breaker. What happens while it
	// runs waits for it to return.
	OnChange func(Transition)
}

// Short names of the modes that this package treats apart.
const (
	observe  = capability.BreakerObserve
	disabled = capability.BreakerDisabled
	forced   = capability.BreakerForced
)

// The word of a breaker is its generation, and in the lowest bits what the closed
// path needs to know.
const (
	passing  = 1 << iota // everything is let through
	counting             // outcomes are counted
	bits     = 2
)

const (
	// forcedAfter is when asking a breaker again makes sense that the operator opened.
	forcedAfter = 5 * time.Second
	// trialsAfter is the same while trials run: long enough for them to end.
	trialsAfter = time.Second
	// defaultExpiry is that of trials whose caller names none.
	defaultExpiry = 30 * time.Second
	// spread is how far an open time is from what is set, at most.
	spread = 0.1
)

// Breaker is the breaker of one side of one capability. It may be used by many
// goroutines. It starts none and need not be closed.
type Breaker struct {
	options Options
	epoch   time.Time     // the window counts from here
	word    atomic.Uint64 // written with mu held

	mu       sync.Mutex
	settings capability.Breaker
	mode     capability.BreakerMode
	state    State
	since    time.Time
	reason   string
	window   window
	failure  string    // reason of the last one counted
	closed   time.Time // when trials last closed it
	opened   int       // times in a row
	opening  *opening  // not nil when half-open, and when open other than by the operator
	untold   []Transition
	telling  bool // a goroutine is in tell
}

// New makes a breaker. Settings that are zero or out of range take their defaults,
// the empty mode is enforce. The state it begins with is not told as a change:
// OnChange is not called before New has returned.
func New(s capability.Breaker, mode capability.BreakerMode, o Options) *Breaker {
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	now := time.Now()
	b := &Breaker{options: o, epoch: now, settings: complete(s), state: Closed, since: now}
	b.window = newWindow(b.settings.Window)
	b.mu.Lock()
	b.setMode(mode, now)
	b.untold = nil
	b.unlock()
	return b
}

// Admit lets a request through, whose outcome is then reported with Call.Done, or
// returns an *OpenError. A trial that has not reported after expiry counts as
// failed; an expiry of zero or less is 30 s. It does not block.
func (b *Breaker) Admit(expiry time.Duration) (Call, error) {
	if word := b.word.Load(); word&passing != 0 {
		return Call{breaker: b, word: word}, nil
	}
	return b.admit(expiry)
}

func (b *Breaker) admit(expiry time.Duration) (Call, error) {
	if expiry <= 0 {
		expiry = defaultExpiry
	}
	b.mu.Lock()
	defer b.unlock()
	now := b.advance()
	after := trialsAfter
	switch {
	case b.mode == forced:
		after = forcedAfter
	case b.state == Closed: // since the word was read
		return Call{breaker: b, word: b.word.Load()}, nil
	case b.state == HalfOpen:
		if t := b.opening.try(now, expiry); t != nil {
			return Call{breaker: b, word: b.word.Load(), trial: t}, nil
		}
	default:
		after = b.opening.until.Sub(now)
	}
	if b.mode == observe {
		return Call{}, nil
	}
	reason := b.reason
	if b.state == HalfOpen {
		reason = "its trials have not ended"
	}
	return Call{}, &OpenError{After: after, Reason: reason, Operator: b.mode == forced}
}

// Info says how the breaker is. It does not block; it may find that an open time
// is over or a trial has expired, and then calls OnChange.
func (b *Breaker) Info() Info {
	b.mu.Lock()
	defer b.unlock()
	now := b.advance()
	b.forgive(now)
	b.window.roll(now.Sub(b.epoch))
	c := b.window.total
	i := Info{
		State: b.state, Mode: b.mode, Since: b.since, Reason: b.reason, Opened: b.opened,
		Requests: c.done, Failures: c.failed, Slow: c.slow,
	}
	if b.state == Open && b.opening != nil {
		i.Remaining = b.opening.until.Sub(now)
	}
	return i
}
