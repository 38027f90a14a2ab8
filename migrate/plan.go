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
	Sequences  []string      `json:"sequences,omitempty"` // set at a switch, by their legacy names
	Rows       int64         `json:"rows"`                // estimated
	Bytes      int64         `json:"bytes"`               // without indexes
	Estimate   time.Duration `json:"estimate_ns"`         // of the backfill
	Notes      []string      `json:"notes,omitempty"`
}

// TablePlan is what becomes of one table.
type TablePlan struct {
	Table   string               `json:"table"`
	As      string               `json:"as"`
	Mode    capability.TableMode `json:"mode"`
	Verdict Verdict              `json:"verdict"`
	Rows    int64                `json:"rows"` // estimated
	Bytes   int64                `json:"bytes"`
	Renames map[string]string    `json:"renames,omitempty"`
	Notes   []string             `json:"notes,omitempty"`
	Reasons []string             `json:"reasons,omitempty"` // why it is refused
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
	AtSwitch   capability.BorderAction `json:"at_switch,omitempty"` // empty: not agreed to
	Dropped    bool                    `json:"dropped,omitempty"`   // by an earlier switch
}

// copySpeed is what an estimate assumes of a backfill without a limit: bytes a
// second through one COPY on a common server.
const copySpeed = 40 << 20

// planner collects a plan and the problems that stand against it.
type planner struct {
	doc      capability.Document
	plan     Plan
	layout   layout
	problems []capability.Problem
}

// newPlan reads both databases and changes neither.
func newPlan(ctx context.Context, doc capability.Document, legacy, extracted Database) (Plan, []capability.Problem, error) {
	l, err := survey(ctx, doc, legacy, extracted)
	if err != nil {
		return Plan{}, nil, err
	}
	_, begun, err := extracted.Move(ctx, doc.Name)
	if err != nil {
		return Plan{}, nil, err
	}
	p := &planner{doc: doc, layout: l, problems: l.problems,
		plan: Plan{Capability: doc.Name, Capture: "the source's write-ahead log (pgoutput)", Begun: begun}}
	steps := []func(context.Context, Database, Database) error{p.tables, p.border, p.sequences, p.rights}
	for _, step := range steps {
		if err := step(ctx, legacy, extracted); err != nil {
			return Plan{}, nil, err
		}
	}
	p.conclude()
	return p.plan, p.problems, nil
}

func (p *planner) refuse(problem capability.Problem) {
	p.problems = append(p.problems, located(p.doc, []capability.Problem{problem})...)
}

// tables judges every table that exists on both sides.
func (p *planner) tables(ctx context.Context, legacy, extracted Database) error {
	for _, d := range p.layout.missing {
		p.plan.Tables = append(p.plan.Tables, TablePlan{Table: d.From.Relation.String(), As: d.To.String(), Mode: d.Mode,
			Rows: d.From.Rows, Bytes: d.From.Bytes, Renames: d.Rename})
	}
	here, err := legacy.Facts(ctx, relations(p.layout.pairs, capability.Legacy))
	if err != nil {
		return err
	}
	there, err := extracted.Facts(ctx, relations(p.layout.pairs, capability.Extracted))
	if err != nil {
		return err
	}
	for i, pair := range p.layout.pairs {
		t := TablePlan{Table: pair.Legacy.Relation.String(), As: pair.Extracted.Relation.String(), Mode: pair.Mode, Rows: pair.Legacy.Rows, Bytes: pair.Legacy.Bytes}
		line := 0
		for _, wanted := range p.doc.Data.Tables {
			if ParseRelation(wanted.Table) == pair.Legacy.Relation {
				line, t.Renames = wanted.Line, wanted.Columns
			}
		}
		obstacles, notes := judge(pair, here[i], there[i], p.plan.Begun)
		for _, o := range obstacles {
			p.refuse(capability.Problem{Path: "data.tables." + t.Table, Line: line, Message: o.message, Mend: o.mend})
		}
		t.Notes = notes
		p.plan.Tables = append(p.plan.Tables, t)
	}
	return nil
}

// border holds the crossing foreign keys of the legacy database against what the
// document agrees to.
func (p *planner) border(ctx context.Context, legacy, extracted Database) error {
	keys, err := crossing(ctx, legacy, p.layout)
	if err != nil {
		return err
	}
	dropped, err := legacy.DroppedForeignKeys(ctx, p.doc.Name)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, k := range keys {
		known[k.Name] = true
		b := BorderPlan{Constraint: k.Name, From: k.From.String(), To: k.To.String()}
		agreed, ok := agreement(p.doc.Data.Border, k.Name)
		if ok {
			b.AtSwitch = agreed.AtSwitch
		}
		p.plan.Border = append(p.plan.Border, b)
		p.judgeKey(k, agreed, ok)
	}
	for _, k := range dropped {
		known[k.Name] = true
		p.plan.Border = append(p.plan.Border, BorderPlan{Constraint: k.Name, From: k.From.String(), To: k.To.String(), AtSwitch: capability.BorderDrop, Dropped: true})
	}
	for _, b := range p.doc.Data.Border {
		if !known[b.Constraint] {
			p.refuse(capability.Problem{Path: "data.border", Line: b.Line, Value: b.Constraint, Message: "no foreign key of this name crosses the border", Mend: "take the entry out"})
		}
	}
	outside, err := crossingOf(ctx, extracted, relations(p.layout.moved(), capability.Extracted))
	if err != nil {
		return err
	}
	for _, k := range outside {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("foreign key %s of %s in the extracted database is not checked for rows that the mover writes", k.Name, k.From))
	}
	return nil
}

func (p *planner) judgeKey(k ForeignKey, agreed capability.Border, ok bool) {
	outgoing := slices.Contains(relations(p.layout.moved(), capability.Legacy), k.From)
	switch {
	case !ok:
		p.refuse(capability.Problem{Path: "data.border", Value: k.Name, Message: fmt.Sprintf("foreign key %s from %s to %s crosses the border and is not agreed to", k.Name, k.From, k.To),
			Mend: fmt.Sprintf("add under data.border:  - {constraint: %s, at_switch: drop}", k.Name)})
	case agreed.AtSwitch == capability.BorderKeep && (!outgoing || k.Writes()):
		p.refuse(capability.Problem{Path: "data.border", Line: agreed.Line, Value: k.Name,
			Message: fmt.Sprintf("foreign key %s cannot be kept: it refers to a table that moves, or its actions write one", k.Name), Mend: "write at_switch: drop"})
	}
}

// rights asks both databases what the mover's role lacks.
func (p *planner) rights(ctx context.Context, legacy, extracted Database) error {
	for _, side := range []struct {
		database Database
		side     capability.Side
	}{{legacy, capability.Legacy}, {extracted, capability.Extracted}} {
		problems, err := side.database.Rights(ctx, relations(p.layout.pairs, side.side), p.plan.Begun)
		if err != nil {
			return err
		}
		for i := range problems {
			problems[i].File = p.doc.File
		}
		p.problems = append(p.problems, problems...)
	}
	return nil
}

// conclude sums up, and gives every table its verdict.
func (p *planner) conclude() {
	for i := range p.plan.Tables {
		t := &p.plan.Tables[i]
		for _, problem := range p.problems {
			if problem.Path == "data.tables."+t.Table || strings.HasPrefix(problem.Path, "data.tables.") && ParseRelation(strings.TrimPrefix(problem.Path, "data.tables.")).String() == t.Table {
				t.Reasons = append(t.Reasons, problem.Message+"; "+problem.Mend)
			}
		}
		switch {
		case len(t.Reasons) > 0:
			t.Verdict = VerdictRefused
		case len(t.Notes) > 0:
			t.Verdict = VerdictNoted
		default:
			t.Verdict = VerdictMoves
		}
		p.plan.Rows += t.Rows
		p.plan.Bytes += t.Bytes
	}
	p.plan.Estimate = time.Duration(float64(p.plan.Bytes) / copySpeed * float64(time.Second)).Round(time.Second)
	if rate := p.doc.Data.Rate; rate > 0 {
		p.plan.Estimate = max(p.plan.Estimate, time.Duration(float64(p.plan.Rows)/float64(rate)*float64(time.Second)).Round(time.Second))
	}
	p.plan.Notes = append(p.plan.Notes, "the slots wait, while they are made, for every transaction that is writing in the cluster",
		"each capability adds one decoder that reads the whole log of the legacy database")
}
