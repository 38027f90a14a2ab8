package main

import (
	"strings"
	"sync"
)

// ledger counts where the requests of the fault matrix arrived: their outcomes are judged by it, besides by what the
// client was told.
type ledger struct {
	mu       sync.Mutex
	arrivals map[string]arrivals // guarded by mu
}

// arrivals is how often one request came, to the upstream that fails and to the monolith.
type arrivals struct{ failing, legacy int }

func newLedger() *ledger { return &ledger{arrivals: map[string]arrivals{}} }

// matrixMark is the first letter of ids of the matrix.
const matrixMark = "m"

func (l *ledger) enter(id string, failing bool) {
	if !strings.HasPrefix(id, matrixMark) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.arrivals[id]
	if failing {
		a.failing++
	} else {
		a.legacy++
	}
	l.arrivals[id] = a
}

func (l *ledger) of(id string) arrivals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arrivals[id]
}
