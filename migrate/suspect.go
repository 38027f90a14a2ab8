package migrate

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"strangler/capability"
)

// suspect is a row that was found to differ.
type suspect struct {
	since    time.Time
	mismatch capability.Mismatch
}

func (r *recheck) mismatch(m Mapping, k Key, source, target Found) capability.Mismatch {
	_, _, names := r.compared(m)
	return mismatch(m, r.d.from, names, k.Values, source, target)
}

// mismatch describes how two rows differ whose columns have these names.
func mismatch(m Mapping, from capability.Side, names, key []string, source, target Found) capability.Mismatch {
	found := capability.Mismatch{Table: m.Pair.Legacy.Relation.String(), Key: keyText(keyColumns(m.FromKey, m.From), key)}
	switch {
	case target.Version == "":
		found.Detail = "only in " + string(from)
	case source.Version == "":
		found.Detail = "only in " + string(from.Other())
	default:
		var columns []string
		for i := range source.Values {
			if (source.Values[i] == nil) != (target.Values[i] == nil) || !bytes.Equal(source.Values[i], target.Values[i]) {
				columns = append(columns, names[i])
			}
		}
		found.Detail = differs(columns)
	}
	return found
}

func (r *recheck) suspect(k Key, now time.Time, found capability.Mismatch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := k.pack()
	s, known := r.suspects[name]
	if !known {
		s.since = now
	}
	s.mismatch = found
	r.suspects[name] = s
}

func (r *recheck) acquit(k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.suspects, k.pack())
}

// complaint tells of rows that have differed for too long; empty when there are
// none.
func (r *recheck) complaint() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var n int
	var one capability.Mismatch
	for _, s := range r.suspects {
		if time.Since(s.since) > suspectFor {
			n, one = n+1, s.mismatch
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d rows differ although the stream from %s has passed them, such as %s %s: %s", n, r.d.from, one.Table, one.Key, one.Detail)
}

func equal(a, b Found) bool {
	if (a.Version == "") != (b.Version == "") {
		return false
	}
	return slices.EqualFunc(a.Values, b.Values, func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) })
}
