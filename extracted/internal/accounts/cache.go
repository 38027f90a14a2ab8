package accounts

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxEntries bounds the memory of a flood of made-up tokens.
const maxEntries = 10_000

// cache remembers answers per token and asks once for any number of requests that want the same token at
// the same time.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*entry // guarded by mu
}

// entry is an answer, or one on its way: until ready is closed only the goroutine that asks touches it.
type entry struct {
	ready    chan struct{}
	customer Customer
	err      error
	expires  time.Time // guarded by cache.mu; zero while on its way
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, entries: make(map[string]*entry)}
}

// get returns the remembered answer or waits for ask. A failure to ask is handed to whoever waited for it
// and not remembered.
func (c *cache) get(ctx context.Context, token string, ask func(context.Context) (Customer, error)) (Customer, error) {
	c.mu.Lock()
	e, found := c.entries[token]
	if found && (e.expires.IsZero() || c.now().Before(e.expires)) {
		c.mu.Unlock()
		select {
		case <-e.ready:
			return e.customer, e.err
		case <-ctx.Done():
			return Customer{}, errors.Join(ErrUnavailable, ctx.Err())
		}
	}
	e = &entry{ready: make(chan struct{})}
	c.makeRoom()
	c.entries[token] = e
	c.mu.Unlock()

	// The answer serves others too, so this request's client hanging up must not end the question.
	customer, err := ask(context.WithoutCancel(ctx))
	c.settle(token, e, customer, err)
	return customer, err
}

func (c *cache) settle(token string, e *entry, customer Customer, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.customer, e.err = customer, err
	switch {
	case err == nil:
		e.expires = c.now().Add(knownFor)
	case errors.Is(err, ErrNobody):
		e.expires = c.now().Add(nobodyFor)
	case c.entries[token] == e:
		delete(c.entries, token)
	}
	close(e.ready)
}

// makeRoom drops what has expired once the bound is reached, and failing that any tenth, so that a flood
// does not pay for a scan with every request. An answer on its way may be dropped too: those who wait for
// it hold it themselves.
func (c *cache) makeRoom() {
	if len(c.entries) < maxEntries {
		return
	}
	now := c.now()
	for token, e := range c.entries {
		if !e.expires.IsZero() && !now.Before(e.expires) {
			delete(c.entries, token)
		}
	}
	for token := range c.entries {
		if len(c.entries) <= maxEntries*9/10 {
			return
		}
		delete(c.entries, token)
	}
}
