package migrate

import (
	"encoding/binary"
	"sync"
)

// changedCap bounds the memory of a Changed: some hundred bytes a key.
const changedCap = 1_000_000

// Key names one row: the mapping by position, and the values of the mapping's
// key as text. Source and target have the same values.
type Key struct {
	Table  int
	Values []string
}

// Changed is the set of rows that a stream has applied since they were last
// verified. It begins overflowed, because nobody knows what an earlier process
// applied: Reset, at the point at which a full verification reads, makes it
// exact. It is safe for concurrent use.
type Changed struct {
	mu         sync.Mutex
	keys       map[string]struct{} // guarded by mu
	overflowed bool                // guarded by mu; then keys is empty
}

func newChanged() *Changed { return &Changed{overflowed: true} }

// Take removes up to n keys from the set and returns them, in no order.
func (c *Changed) Take(n int) []Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := make([]Key, 0, min(n, len(c.keys)))
	for k := range c.keys {
		if len(taken) == n {
			break
		}
		taken = append(taken, unpack(k))
		delete(c.keys, k)
	}
	return taken
}

// Return puts keys back that were taken and could not be verified.
func (c *Changed) Return(keys []Key) {
	packed := make([]string, len(keys))
	for i, k := range keys {
		packed[i] = k.pack()
	}
	c.add(packed)
}

// Len is the number of keys in the set.
func (c *Changed) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keys)
}

// Overflowed says that more has changed than the set could hold, or that a
// table was truncated, or that nothing was verified yet: only a full
// verification will do.
func (c *Changed) Overflowed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overflowed
}

// Reset empties the set. Call it while the stream is held at the position at
// which everything is about to be verified, and Overflow if that then fails.
func (c *Changed) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys, c.overflowed = nil, false
}

// Overflow gives up on single keys until the next Reset.
func (c *Changed) Overflow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys, c.overflowed = nil, true
}

func (c *Changed) add(packed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overflowed {
		return
	}
	if c.keys == nil {
		c.keys = map[string]struct{}{}
	}
	for _, k := range packed {
		c.keys[k] = struct{}{}
	}
	if len(c.keys) > changedCap {
		c.keys, c.overflowed = nil, true
	}
}

// pack writes a key as one string: the table, then each value behind its length.
func (k Key) pack() string {
	b := binary.AppendUvarint(nil, uint64(k.Table))
	for _, v := range k.Values {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	return string(b)
}

// packKey is Key.pack for values that are still bytes: one per applied change.
func packKey(table int, values [][]byte) string {
	size := binary.MaxVarintLen32
	for _, v := range values {
		size += binary.MaxVarintLen32 + len(v)
	}
	b := binary.AppendUvarint(make([]byte, 0, size), uint64(table))
	for _, v := range values {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	return string(b)
}

// unpack reads what pack wrote. It is given nothing else.
func unpack(s string) Key {
	b := []byte(s)
	table, n := binary.Uvarint(b)
	b = b[n:]
	k := Key{Table: int(table)}
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		k.Values = append(k.Values, string(b[n:n+int(size)]))
		b = b[n+int(size):]
	}
	return k
}
