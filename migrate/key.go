package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// Candidate is an index that tells all rows of a table apart: of its primary key,
// or over columns that are NOT NULL, over all rows and checked at once.
type Candidate struct {
	Index   string
	Columns []string
	Primary bool
}

// named is the candidate's index, where a table's Key is not the primary one.
func (c Candidate) named() string {
	if c.Primary {
		return ""
	}
	return c.Index
}

// chooseKey takes the first key of the legacy table that the extracted table has
// as well: the primary one, if it can be.
func (p *Pair) chooseKey() {
	for _, here := range p.Legacy.Candidates {
		columns := sorted(p.across(here.Columns))
		i := slices.IndexFunc(p.Extracted.Candidates, func(there Candidate) bool { return slices.Equal(sorted(there.Columns), columns) })
		if i >= 0 {
			there := p.Extracted.Candidates[i]
			p.Legacy.Key, p.Legacy.KeyIndex = here.Columns, here.named()
			p.Extracted.Key, p.Extracted.KeyIndex = there.Columns, there.named()
			return
		}
	}
	if len(p.Legacy.Key) == 0 && len(p.Legacy.Candidates) > 0 {
		p.Legacy.Key, p.Legacy.KeyIndex = p.Legacy.Candidates[0].Columns, p.Legacy.Candidates[0].named()
	}
}

// across names legacy columns as the extracted side does. One that does not move
// has no name there.
func (p *Pair) across(columns []string) []string {
	list := make([]string, len(columns))
	for i, name := range columns {
		if at := slices.IndexFunc(p.Columns, func(c ColumnPair) bool { return c.Legacy == name }); at >= 0 {
			list[i] = p.Columns[at].Extracted
		}
	}
	return list
}

func (p Pair) keyProblems(doc capability.Table) []capability.Problem {
	path := entry(doc)
	if len(p.Legacy.Key) == 0 {
		return []capability.Problem{{Path: path, Line: doc.Line, Value: p.Legacy.String(), Message: "the table has no primary key and no unique index over columns that are NOT NULL, so its rows cannot be told apart",
			Mend: fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (…), or CREATE UNIQUE INDEX over NOT NULL columns; where no columns will do, ADD COLUMN row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, on both sides (it rewrites the table); or leave the table out", p.Legacy.SQL())}}
	}
	if m := p.Direct(capability.Legacy); !slices.Equal(sorted(m.ToKey), sorted(p.Extracted.Key)) {
		problem := capability.Problem{Path: path, Line: doc.Line, Value: strings.Join(p.Extracted.Key, ", "),
			Message: fmt.Sprintf("the primary key of the extracted table %s is not that of the legacy table (%s)", p.Extracted.Relation, strings.Join(p.Legacy.Key, ", ")),
			Mend:    "give both tables the same key columns"}
		if p.Legacy.KeyIndex != "" {
			problem.Message = fmt.Sprintf("the extracted table %s has no key for the one of the legacy table (index %s over %s)", p.Extracted.Relation, p.Legacy.KeyIndex, strings.Join(p.Legacy.Key, ", "))
			problem.Mend = fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s); -- over NOT NULL columns", p.Extracted.SQL(), sqlNames(m.ToKey))
		}
		return []capability.Problem{problem}
	}
	return nil
}

// Identified is a database whose log names rows by a key.
type Identified interface {
	// Identify has the log name rows of a table by an index, unless it tells them whole.
	// How it named them before is noted. It makes writers of the table wait for 100 ms at
	// most at a time.
	Identify(ctx context.Context, name string, table Relation, index string) error
	// IdentifyWhole has the log tell old rows of a table whole.
	IdentifyWhole(ctx context.Context, name string, table Relation) error
	// Unidentify takes back what these have done for a capability.
	Unidentify(ctx context.Context, name string) error
}

// identify prepares the tables of one side whose rows are known by another index
// than the primary key's. Of extracted tables it keeps anybody from dropping the index,
// whatever captures their changes.
func (m *Mover) identify(ctx context.Context, side capability.Side, pairs []Pair) error {
	if side == capability.Legacy && m.kinds[side] != capability.CaptureWAL {
		return nil
	}
	done := map[Relation]bool{}
	for _, p := range pairs {
		t := p.On(side)
		if t.KeyIndex == "" || done[t.Relation] {
			continue
		}
		done[t.Relation] = true
		if err := m.databases[side].Identify(ctx, m.Document.Name, t.Relation, t.KeyIndex); err != nil {
			return err
		}
	}
	return nil
}
