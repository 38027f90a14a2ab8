package proxy

import (
	"sync"
	"time"
)

// clock is the timeout of an exchange. It runs while the side is waited for, and
// stands while the client is: for the next piece of its request, or until it has
// taken a piece of the answer. How long a client may take for a piece is for the
// edge to say.
type clock struct {
	limit  time.Duration // 0: none
	expire func()

	mu     sync.Mutex
	timer  *time.Timer   // guarded by mu; nil without a limit, before start and after stop
	ends   time.Time     // guarded by mu; when it expires, while it runs
	left   time.Duration // guarded by mu; of the limit, while it stands
	over   bool          // guarded by mu; stopped
	waits  int           // guarded by mu; for the client, under way
	since  time.Time     // guarded by mu; when the first of them began
	client time.Duration // guarded by mu; spent in them before
}

// start lets the clock run. It calls expire from a goroutine of its own, once, after
// limit without a restart.
func (c *clock) start(limit time.Duration, expire func()) {
	c.limit, c.expire = limit, expire
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit > 0 {
		c.ends = time.Now().Add(limit)
		c.timer = time.AfterFunc(limit, c.fire)
	}
}

// stop ends the clock for good.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// within leaves the side no more than that, also where there was no limit.
func (c *clock) within(most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	now := time.Now()
	if c.timer == nil {
		c.limit, c.left = most, most
		c.timer = time.AfterFunc(most, c.fire)
	} else if c.waits == 0 {
		c.left = c.ends.Sub(now)
	}
	c.limit, c.left = min(c.limit, most), min(c.left, most)
	if c.waits > 0 {
		c.timer.Stop()
		return
	}
	c.run(now)
}

// fire may have been on its way when the clock was set anew.
func (c *clock) fire() {
	c.mu.Lock()
	over := c.timer != nil && c.waits == 0 && !time.Now().Before(c.ends)
	c.mu.Unlock()
	if over {
		c.expire()
	}
}

// wait says that a wait for the client begins. There may be two at once.
func (c *clock) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits++
	if c.waits > 1 {
		return
	}
	c.since = time.Now()
	if c.timer != nil {
		c.timer.Stop()
		c.left = max(0, c.ends.Sub(c.since))
	}
}

// goOn says that a wait for the client is over. The side has the whole limit again if
// anew, and else what was left of it.
func (c *clock) goOn(anew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if anew {
		c.left = c.limit
	}
	c.waits--
	if c.waits > 0 {
		return
	}
	now := time.Now()
	c.client += now.Sub(c.since)
	c.run(now)
}

// restart gives the side the whole limit again.
func (c *clock) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = c.limit
	if c.waits == 0 {
		c.run(time.Now())
	}
}

// run is called with mu held.
func (c *clock) run(now time.Time) {
	if c.timer != nil {
		c.ends = now.Add(c.left)
		c.timer.Reset(c.left)
	}
}

// ofClient is how long the client was waited for, up to now.
func (c *clock) ofClient() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits > 0 {
		return c.client + time.Since(c.since)
	}
	return c.client
}
