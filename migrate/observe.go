package migrate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// Observer is a database whose transactions can be watched.
type Observer interface {
	// Observe watches what all transactions of the database write, for the
	// period and as long as it takes to begin, and returns each set of tables that
	// was written together, by their names in statements, with the number of
	// transactions. It decodes the whole log meanwhile.
	Observe(ctx context.Context, period time.Duration) ([]Together, error)
}

// Together is a set of tables and how many transactions wrote exactly these.
type Together struct {
	Tables       []string
	Transactions int64
}

// Observation tells of the transactions that wrote on both sides of the border:
// a gate refuses them whole when extracted owns.
type Observation struct {
	Period       time.Duration `json:"period_ns"`
	Transactions int64         `json:"transactions"` // that wrote anything
	Inside       int64         `json:"inside"`       // that wrote a table of the capability
	Crossing     int64         `json:"crossing"`     // that wrote one outside as well
	Pairs        []Crossing    `json:"pairs,omitempty"`
}

// Crossing is a table inside and one outside that were written together.
type Crossing struct {
	Inside       string `json:"inside"`
	Outside      string `json:"outside"`
	Transactions int64  `json:"transactions"`
}

// Observe counts the legacy database's transactions that write on both sides of
// the border. It blocks for the period, and before that until every transaction
// that is writing in the cluster has ended.
func (m *Mover) Observe(ctx context.Context, period time.Duration) (Observation, error) {
	var inside []Relation
	for _, t := range m.Document.Data.Tables {
		if mode(t) == capability.Move {
			inside = append(inside, ParseRelation(t.Table))
		}
	}
	seen, err := m.Legacy.Observe(ctx, period)
	if err != nil {
		return Observation{}, fmt.Errorf("observe %s: %w", m.Document.Name, err)
	}
	o := observed(seen, inside)
	o.Period = period
	return o, nil
}

// observed sorts what was seen by the border. What the product itself writes
// counts for nothing.
func observed(seen []Together, inside []Relation) Observation {
	var o Observation
	for _, s := range seen {
		var in, out []Relation
		for _, name := range s.Tables {
			switch r := relationOf(name); {
			case r.Schema == "strangler":
			case slices.Contains(inside, r):
				in = append(in, r)
			default:
				out = append(out, r)
			}
		}
		if len(in)+len(out) > 0 {
			o.Transactions += s.Transactions
		}
		if len(in) > 0 {
			o.Inside += s.Transactions
		}
		if len(in) > 0 && len(out) > 0 {
			o.Crossing += s.Transactions
		}
		for _, a := range in {
			for _, b := range out {
				o.add(a.String(), b.String(), s.Transactions)
			}
		}
	}
	slices.SortFunc(o.Pairs, func(a, b Crossing) int {
		return cmp.Or(cmp.Compare(b.Transactions, a.Transactions), strings.Compare(a.Inside, b.Inside), strings.Compare(a.Outside, b.Outside))
	})
	return o
}

func (o *Observation) add(inside, outside string, transactions int64) {
	i := slices.IndexFunc(o.Pairs, func(p Crossing) bool { return p.Inside == inside && p.Outside == outside })
	if i < 0 {
		i, o.Pairs = len(o.Pairs), append(o.Pairs, Crossing{Inside: inside, Outside: outside})
	}
	o.Pairs[i].Transactions += transactions
}

// relationOf reads a qualified name as statements write it.
func relationOf(name string) Relation {
	list := words(name, false)
	if len(list) != 3 {
		return Relation{"public", name}
	}
	return Relation{list[0].text, list[2].text}
}
