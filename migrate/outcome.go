package migrate

import (
	"fmt"
	"strings"

	"strangler/capability"
)

// conclude gives every table its verdict and tells what will happen.
func (p *planner) conclude() {
	for i := range p.plan.Tables {
		t := &p.plan.Tables[i]
		for _, problem := range p.problems {
			if Concerns(problem, t.Table, t.As) {
				t.Reasons = append(t.Reasons, Remark{Message: problem.Message, Mend: problem.Mend})
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
		p.plan.Estimate += t.Estimate
	}
	p.plan.Speed = fmt.Sprintf("%s/s, assumed", size(copySpeed))
	if rate := p.doc.Data.Rate; rate > 0 {
		p.plan.Speed = fmt.Sprintf("%d rows/s, by data.rate", rate)
	}
	p.plan.Happens = p.happens()
}

// happens lists what is done, in order.
func (p *planner) happens() []string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	chunks, moved := 0, 0
	for _, t := range p.plan.Tables {
		chunks += t.Chunks
		if t.Mode == capability.Move {
			moved++
		}
	}
	if p.plan.Begun {
		add("the move has begun; data start goes on with it")
	} else {
		add("data start makes gates and guards on %d tables in both databases, %s", moved, made(p.captures))
		add("about %d rows (%s) are copied in %d chunks, in about %s (%s; indexes come on top)", p.plan.Rows, size(p.plan.Bytes), chunks, p.plan.Estimate, p.plan.Speed)
		add("both directions are followed, until retire")
	}
	var dropped, kept []string
	for _, b := range p.plan.Border {
		switch {
		case b.Dropped:
		case b.AtSwitch == capability.BorderKeep:
			kept = append(kept, b.Constraint)
		default:
			dropped = append(dropped, b.Constraint)
		}
	}
	if len(dropped) > 0 {
		add("a cutover drops foreign keys first, in a transaction of at most a second: %s; a rollback adds them again and validates them", strings.Join(dropped, ", "))
	}
	if len(kept) > 0 {
		add("foreign keys stay in the legacy database, and are not checked for what the mover writes there: %s", strings.Join(kept, ", "))
	}
	add("a cutover holds writes while the gates change, for at most 3 s")
	if len(p.plan.Sequences) > 0 {
		add("it sets sequences, with a gap of %d: %s", p.doc.Data.Gap, strings.Join(p.plan.Sequences, ", "))
	}
	add("from then on the legacy database refuses writes to these tables from everybody but the mover, and shows what extracted writes with the lag of the reverse stream")
	return list
}
