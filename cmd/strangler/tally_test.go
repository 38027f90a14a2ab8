package main

import (
	"sync"
	"testing"
	"time"
)

// tally counts what several goroutines do, and tells whoever waits for a number.
type tally struct {
	mu   sync.Mutex
	n    int64
	next chan struct{} // closed by the next add; nil while nobody waits; guarded by mu
}

func (c *tally) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

func (c *tally) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// wait returns the number now, and what is closed when it grows.
func (c *tally) wait() (int64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.n, c.next
}

// reaches waits for a number, and ends a test in which it does not come, or that
// has failed already.
func (c *tally) reaches(t *testing.T, goal int64) {
	t.Helper()
	tooLong := time.After(time.Minute)
	for {
		n, grown := c.wait()
		if n >= goal {
			return
		}
		if t.Failed() {
			t.FailNow()
		}
		select {
		case <-grown:
		case <-tooLong:
			t.Fatalf("%d of %d after a minute", n, goal)
		}
	}
}
