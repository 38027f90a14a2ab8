package breaker

import (
	"time"

	"strangler/capability"
)

// model is the breaker said again as simply as possible: lists instead of
// counters, no gobreaker, no generations but a set of calls that still count.
type model struct {
	s       capability.Breaker
	mode    capability.BreakerMode
	now     time.Duration
	state   State
	answers []*answer
	calls   map[int]bool          // closed calls that count
	said    map[int]*answer       // what those reported that succeeded
	trials  map[int]time.Duration // deadlines
	good    int                   // trials that succeeded
	slow    int                   // of them, late
	opened  int
	closed  time.Duration
	since   time.Duration
	until   time.Duration
}

type answer struct {
	at           time.Duration
	failed, slow bool
}

func newModel(s capability.Breaker, mode capability.BreakerMode) *model {
	m := &model{s: complete(s), state: Closed, closed: -1 << 40}
	m.use(mode)
	return m
}

func (m *model) become(s State) {
	m.state = s
	m.calls, m.said, m.trials = map[int]bool{}, map[int]*answer{}, map[int]time.Duration{}
	m.good, m.slow = 0, 0
}

func (m *model) use(mode capability.BreakerMode) {
	if mode == m.mode {
		return
	}
	switch {
	case mode == forced:
		m.answers, m.opened = nil, 0
		m.become(Open)
	case mode == disabled || m.mode == disabled || m.mode == forced:
		m.answers, m.opened = nil, 0
		m.become(Closed)
	case m.mode == "":
		m.become(Closed)
	}
	m.mode = mode
}

func (m *model) open(at time.Duration) {
	d := m.s.OpenFor
	for range m.opened {
		d = min(2*d, m.s.OpenMost)
	}
	m.opened++
	m.since, m.until = at, max(at+d, m.now+2)
	m.become(Open)
}

func (m *model) advance(d time.Duration) {
	m.now += d
	if m.mode == forced {
		return
	}
	if m.state == Open && m.now >= m.until {
		m.become(HalfOpen)
	}
	first := time.Duration(1 << 62)
	for _, deadline := range m.trials {
		first = min(first, deadline)
	}
	if first <= m.now {
		m.open(first)
	}
	if m.state == Closed && m.now-m.closed >= m.s.Window {
		m.opened = 0
	}
}

// admit says whether a request is let through.
func (m *model) admit(id int, expiry time.Duration) bool {
	switch {
	case m.state == Closed:
		m.calls[id] = m.mode != disabled
		return true
	case m.state == HalfOpen && m.good+len(m.trials) < m.s.Trials:
		m.trials[id] = m.now + expiry
		return true
	}
	return m.mode == observe
}

func (m *model) done(id int, o Outcome, took time.Duration) {
	late := m.s.Slow > 0 && took > m.s.Slow
	if _, ok := m.trials[id]; ok {
		delete(m.trials, id)
		if o.kind == success && late {
			m.slow++
		}
		switch {
		case o.kind == excluded:
		case o.kind == failure, late && float64(m.slow)/float64(m.s.Trials) >= m.s.SlowRatio:
			m.open(m.now)
		default:
			if m.good++; m.good == m.s.Trials {
				m.answers, m.closed = nil, m.now
				m.become(Closed)
			}
		}
		return
	}
	if !m.calls[id] || o.kind == excluded {
		return
	}
	delete(m.calls, id)
	a := &answer{m.now, o.kind == failure, late}
	m.answers = append(m.answers, a)
	if !a.failed {
		m.said[id] = a
	}
	m.judge()
}

// broke takes a success back.
func (m *model) broke(id int) {
	a := m.said[id]
	if a == nil {
		return
	}
	delete(m.said, id)
	a.failed = true
	m.judge()
}

func (m *model) judge() {
	if n, failed, slow := m.counts(); n >= m.s.Requests &&
		(failed > 0 && float64(failed)/float64(n) >= m.s.Ratio || slow > 0 && float64(slow)/float64(n) >= m.s.SlowRatio) {
		m.open(m.now)
	}
}

// counts are those of the answers in the newest ten tenths of a window.
func (m *model) counts() (n, failed, slow int) {
	for _, a := range m.answers {
		if m.forgotten(a) {
			continue
		}
		n++
		if a.failed {
			failed++
		}
		if a.slow {
			slow++
		}
	}
	return n, failed, slow
}

func (m *model) forgotten(a *answer) bool {
	tenth := m.s.Window / 10
	return m.now/tenth-a.at/tenth >= 10
}
