package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"strangler/capability"
)

// record is what a mover writes down of the tables that it follows.
type record struct {
	Pairs []Pair
	// Past are earlier ones, oldest first, of which changes may wait to be read.
	Past []earlier `json:",omitempty"`
}

// earlier are tables as they were up to a position on each side.
type earlier struct {
	Pairs []Pair
	Until map[capability.Side]capability.Position
}

// recorded reads what the move has of its tables; false: nothing.
func (m Move) recorded() (record, bool, error) {
	var r record
	if len(m.Layout) == 0 {
		return r, false, nil
	}
	if err := json.Unmarshal(m.Layout, &r); err != nil {
		return r, false, fmt.Errorf("read the tables of the move: %w", err)
	}
	return r, true, nil
}

// keep writes the tables down that are followed from now on.
func (m *Mover) keep(ctx context.Context, r record) error {
	fingerprint, err := layout{pairs: r.Pairs}.fingerprint()
	if err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the tables of %s: %w", m.Document.Name, err)
	}
	return m.Extracted.SaveLayout(ctx, m.Document.Name, fingerprint, text)
}

// mappings are those of some of the pairs in one direction, with what their tables
// were like before.
func (r record) mappings(pairs []Pair, from capability.Side) []Mapping {
	list := mappings(pairs, from)
	for i, p := range pairs {
		for _, past := range r.Past {
			at := slices.IndexFunc(past.Pairs, func(was Pair) bool { return was.On(from).ID == p.On(from).ID })
			if at >= 0 {
				list[i].Past = append(list[i].Past, Past{Table: past.Pairs[at].On(from), Until: past.Until[from]})
			}
		}
	}
	return list
}
