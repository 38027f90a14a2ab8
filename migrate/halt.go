package migrate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"strangler/capability"
)

// HaltError is why a stream has ended for good: trying again cannot heal it, and
// going on would lose or double changes. Mend says what a person can do.
type HaltError struct {
	Reason, Mend string
}

// Error states reason and mend.
func (e *HaltError) Error() string { return e.Reason + "; " + e.Mend }

// ChangedError is why a stream has ended before a change: the table is another one
// than the stream was made for. Nothing of the change was applied, and whoever makes
// the stream anew, for the table as it is, goes on there.
type ChangedError struct {
	Table Relation
	Side  capability.Side
	What  string
}

// Error says what is different.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("table %s has changed on the %s side: %s", e.Table, e.Side, e.What)
}

// ConflictError is a change that does not fit the target's rows: the row to
// change is missing, or the row to insert is there. Somebody else has written to
// the target, or source and target were never equal. Nothing of the source's
// transaction was applied. The key is hashed, because it may be secret.
type ConflictError struct {
	Table  Relation // of the target
	Key    string   // KeyHash of the key's values
	Detail string
	Code   string   // SQLSTATE of the target's refusal, if it was one
	Row    *Refused // nil: it is about no row
	Mend   string   // empty: look for another writer, and repair
}

// Error names the table and the row and says what to do.
func (e *ConflictError) Error() string {
	mend := cmp.Or(e.Mend, "find out who else writes to the table, then find and mend what differs with: strangler data repair")
	if e.Row != nil {
		mend += "; the row on both sides shows: strangler data status --show-values"
	}
	return fmt.Sprintf("apply to %s: row %s: %s; %s", e.Table, e.Key, e.Detail, mend)
}

// KeyHash is how rows are named in messages: twelve hexadecimal digits of
// SHA-256 over the key's values as text, each followed by a zero byte.
func KeyHash(key [][]byte) string {
	h := sha256.New()
	for _, v := range key {
		h.Write(v)
		h.Write([]byte{0})
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)[:6])
}
