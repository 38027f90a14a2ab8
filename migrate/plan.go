package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// Plan is what a move will do, and what stands against it.
type Plan struct {
	Capability string        `json:"capability"`
	Capture    string        `json:"capture"` // how changes are read
	Begun      bool          `json:"begun"`   // the move exists already
	Tables     []TablePlan   `json:"tables"`
	Border     []BorderPlan  `json:"border,omitempty"`
	Dependents []Dependent   `json:"dependents,omitempty"`
	Notes      []Remark      `json:"notes,omitempty"`     // about the border
	Settings   []Remark      `json:"settings,omitempty"`  // about servers and rights
	Sequences  []string      `json:"sequences,omitempty"` // set at a switch, by their legacy names
	Rows       int64         `json:"rows"`                // estimated
	Bytes      int64         `json:"bytes"`               // without indexes
	Disk       int64         `json:"disk"`                // bytes with indexes
	Speed      string        `json:"speed"`               // what the estimate goes by
	Estimate   time.Duration `json:"estimate_ns"`         // of the backfill
	Happens    []string      `json:"happens,omitempty"`   // in order
}

// TablePlan is what becomes of one table.
type TablePlan struct {
	Table    string               `json:"table"`
	As       string               `json:"as"`
	Mode     capability.TableMode `json:"mode"`
	Verdict  Verdict              `json:"verdict"`
	Rows     int64                `json:"rows"` // estimated
	Bytes    int64                `json:"bytes"`
	Disk     int64                `json:"disk"` // bytes with indexes
	Chunks   int                  `json:"chunks"`
	Estimate time.Duration        `json:"estimate_ns"`
	Identity string               `json:"identity"` // by which a row is known in the stream
	Renames  map[string]string    `json:"renames,omitempty"`
	Computed []ComputedPlan       `json:"computed,omitempty"`
	Where    string               `json:"where,omitempty"` // which rows move
	Omitted  []string             `json:"omitted,omitempty"`
	Lossy    bool                 `json:"lossy,omitempty"` // the way back may lose something
	Notes    []Remark             `json:"notes,omitempty"`
	Reasons  []Remark             `json:"reasons,omitempty"` // why it is refused
}

// ComputedPlan is a column that is computed, as the databases have understood it.
type ComputedPlan struct {
	Side   capability.Side `json:"side"` // of the column
	Column string          `json:"column"`
	Type   string          `json:"type"`
	SQL    string          `json:"sql"` // over the other side's row
}

// Verdict is a plan's word on one table.
type Verdict string

// The verdicts.
const (
	VerdictMoves   Verdict = "moves"
	VerdictNoted   Verdict = "moves with a note"
	VerdictRefused Verdict = "refused"
)

// BorderPlan is one foreign key that crosses the border in the legacy database.
type BorderPlan struct {
	Constraint string                  `json:"constraint"`
	From       string                  `json:"from"`
	To         string                  `json:"to"`
	Actions    string                  `json:"actions,omitempty"`   // ON DELETE …, ON UPDATE …
	Loses      []string                `json:"loses,omitempty"`     // what nobody does any more, once it is dropped
	AtSwitch   capability.BorderAction `json:"at_switch,omitempty"` // empty: not agreed to
	Dropped    bool                    `json:"dropped,omitempty"`   // by an earlier switch
}

// copySpeed is what an estimate assumes of a backfill without a limit: bytes a
// second through one COPY on a common server.
const copySpeed = 40 << 20

// planner collects a plan and the problems that stand against it.
type planner struct {
	doc       capability.Document
	databases map[capability.Side]Database
	captures  map[capability.Side]chosen
	servers   map[capability.Side]Server
	code      map[capability.Side]Code
	plan      Plan
	layout    layout
	problems  []capability.Problem
	facts     []Facts // of the legacy tables, as layout.all has them
	lacking   bool    // rights are missing: a question may fail for that
}

// newPlan reads both databases and changes neither.
func newPlan(ctx context.Context, doc capability.Document, legacy, extracted Database) (Plan, []capability.Problem, error) {
	l, err := survey(ctx, doc, legacy, extracted)
	if err != nil {
		return Plan{}, nil, err
	}
	move, begun, err := extracted.Move(ctx, doc.Name)
	if err != nil {
		return Plan{}, nil, err
	}
	databases := map[capability.Side]Database{capability.Legacy: legacy, capability.Extracted: extracted}
	captures, err := chooseCaptures(ctx, doc.Data.Capture, move, databases)
	if err != nil {
		return Plan{}, nil, err
	}
	p := &planner{doc: doc, layout: l, problems: l.problems, databases: databases, captures: captures, servers: map[capability.Side]Server{}, code: map[capability.Side]Code{},
		plan: Plan{Capability: doc.Name, Capture: described(captures), Begun: begun}}
	steps := []func(context.Context, Database, Database) error{p.examine, p.rights, p.tables, p.parts, p.border, p.unkept, p.dependents, p.sequences, p.settings, p.asides, p.halves}
	for _, step := range steps {
		err := step(ctx, legacy, extracted)
		if err != nil && (!p.lacking || ctx.Err() != nil) {
			return Plan{}, nil, err
		}
		if err != nil {
			p.plan.Settings = append(p.plan.Settings, Remark{Message: fmt.Sprintf("for want of these rights not everything could be examined: %v", err), Mend: "ask again when they are given"})
		}
	}
	p.conclude()
	return p.plan, p.problems, nil
}

func (p *planner) refuse(problem capability.Problem) {
	p.problems = append(p.problems, located(p.doc, []capability.Problem{problem})...)
}

// tables judges every table that exists on both sides, and measures the others.
func (p *planner) tables(ctx context.Context, legacy, extracted Database) error {
	var all []Relation
	for _, d := range p.layout.all {
		all = append(all, d.From.Relation)
	}
	here, err := legacy.Facts(ctx, all)
	if err != nil {
		return err
	}
	p.facts = here
	there, err := extracted.Facts(ctx, relations(p.layout.pairs, capability.Extracted))
	if err != nil {
		return err
	}
	for i, d := range p.layout.all {
		p.unlog(&here[i], capability.Legacy)
		notes := p.captureNotes(here[i], capability.Legacy)
		t := TablePlan{Table: d.From.Relation.String(), As: d.To.String(), Mode: d.Mode, Rows: d.From.Rows, Bytes: d.From.Bytes, Disk: here[i].Total,
			Chunks: len(remaining(0, Extent{Blocks: d.From.Pages, Bytes: d.From.Bytes}, nil, chunkBytes)), Estimate: p.estimate(d.From.Rows, d.From.Bytes), Identity: identity(d.From.Key, here[i].ReplicaID), Renames: d.Rename, Omitted: d.Omit}
		t.Computed = computedPlans(nil, capability.Extracted, d.Computed)
		if j := slices.IndexFunc(p.layout.pairs, func(pair Pair) bool {
			return pair.Legacy.Relation == d.From.Relation && pair.Extracted.Relation == d.To
		}); j >= 0 {
			pair := p.layout.pairs[j]
			t.Computed, t.Lossy = computedPlans(t.Computed, capability.Legacy, pair.Reverse), pair.Lossy
			if pair.Where != nil {
				t.Where = pair.Where.SQL
			}
			p.unlog(&there[j], capability.Extracted)
			t.Identity = identity(pair.Legacy.Key, here[i].ReplicaID)
			p.identity(pair, capability.Legacy, here[i])
			p.identity(pair, capability.Extracted, there[j])
			v := judge(pair, d.Rename, here[i], there[j], p.besides(pair, here), p.plan.Begun)
			for _, o := range v.obstacles {
				p.refuse(capability.Problem{Path: p.path(pair), Line: p.line(pair), Message: o.Message, Mend: o.Mend})
			}
			notes = append(append(notes, p.captureNotes(there[j], capability.Extracted)...), v.notes...)
		}
		t.Notes = notes
		p.plan.Tables = append(p.plan.Tables, t)
		p.plan.Rows += t.Rows
		p.plan.Bytes += t.Bytes
		p.plan.Disk += t.Disk
	}
	return nil
}

func computedPlans(list []ComputedPlan, side capability.Side, computed []Computed) []ComputedPlan {
	for _, c := range computed {
		list = append(list, ComputedPlan{Side: side, Column: c.Column, Type: c.Type, SQL: c.SQL})
	}
	return list
}

// of is the document's entry of a pair.
func (p *planner) of(pair Pair) capability.Table {
	for _, t := range divides(p.doc.Data.Tables) {
		if ParseRelation(t.Table) == pair.Legacy.Relation && ParseRelation(renamedTable(t)) == pair.Extracted.Relation {
			return t
		}
	}
	return capability.Table{Table: pair.Legacy.Relation.String()}
}

// line is where the document names a pair's tables, path is how problems name them.
func (p *planner) line(pair Pair) int { return p.of(pair).Line }

func (p *planner) path(pair Pair) string {
	t := p.of(pair)
	t.Table, t.As = pair.Legacy.Relation.String(), pair.Extracted.Relation.String()
	return entry(t)
}

// estimate is the time that a backfill takes at the speed of the document, or at
// the one that is assumed.
func (p *planner) estimate(rows, bytes int64) time.Duration {
	took := float64(bytes) / copySpeed
	if rate := p.doc.Data.Rate; rate > 0 {
		took = max(took, float64(rows)/float64(rate))
	}
	return time.Duration(took * float64(time.Second)).Round(100 * time.Millisecond)
}

// identity says by what changes name a row.
func identity(key []string, replica string) string {
	switch {
	case replica == "f":
		return "whole row (FULL)"
	case replica == "n":
		return "none"
	case len(key) == 0:
		return "no key"
	}
	return strings.Join(key, ", ")
}

// kept are the foreign keys across the border that a switch leaves alone.
func (p *planner) kept() (names []string) {
	for _, b := range p.doc.Data.Border {
		if b.AtSwitch == capability.BorderKeep {
			names = append(names, b.Constraint)
		}
	}
	return names
}

// rights asks both databases what the mover's role lacks.
func (p *planner) rights(ctx context.Context, legacy, extracted Database) error {
	for _, side := range []struct {
		database Database
		side     capability.Side
	}{{legacy, capability.Legacy}, {extracted, capability.Extracted}} {
		problems, err := side.database.Rights(ctx, distinct(relations(p.layout.pairs, side.side)), p.captures[side.side].kind, p.plan.Begun, p.kept())
		if err != nil {
			return err
		}
		for i := range problems {
			problems[i].File = p.doc.File
		}
		p.problems = append(p.problems, problems...)
		p.lacking = p.lacking || len(problems) > 0
	}
	return nil
}
