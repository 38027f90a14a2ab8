package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
	"strangler/migrate"
)

// planWidth is how wide the text of a plan is. Statements to paste are not
// broken, however long they are.
const planWidth = 96

func (c *cli) printPlan(ctx context.Context, mover *migrate.Mover) error {
	plan, problems, err := mover.Plan(ctx)
	if err != nil {
		return err
	}
	if c.json {
		err = c.out.json(struct {
			Plan     migrate.Plan         `json:"plan"`
			Problems []capability.Problem `json:"problems,omitempty"`
		}{plan, problems})
	} else {
		c.out.line(c.out.bold(plan.Capability) + " (" + mover.Document.File + ")")
		c.planLines(plan, problems)
	}
	if err == nil && len(problems) > 0 {
		return fmt.Errorf("%s against the move of %s", count(len(problems), "thing stands", "things stand"), plan.Capability)
	}
	return err
}

// planLines prints a plan in its four parts. Every problem is told where it
// belongs, with its line in the document.
func (c *cli) planLines(plan migrate.Plan, problems []capability.Problem) {
	c.paragraph("  ", "changes are read from "+plan.Capture)
	c.planTables(plan, problems)
	c.planBorder(plan, problems)
	c.planSettings(plan, problems)
	c.out.line("")
	c.out.line(c.out.bold("What happens"))
	for i, text := range plan.Happens {
		c.paragraph(fmt.Sprintf("  %d. ", i+1), text)
	}
}

func (c *cli) planTables(plan migrate.Plan, problems []capability.Problem) {
	c.out.line("")
	c.out.line(c.out.bold("Tables"))
	rows := [][]string{{"  TABLE", "AS", "ROWS", "SIZE", "CHUNKS", "TIME", "KEY", "VERDICT"}}
	for _, t := range plan.Tables {
		verdict := string(t.Verdict)
		if t.Mode == capability.Copy {
			verdict = strings.Replace(verdict, string(migrate.VerdictMoves), "is copied", 1)
		}
		as := t.As
		if as == t.Table {
			as = "-"
		}
		rows = append(rows, []string{"  " + t.Table, as, fmt.Sprintf("~%d", t.Rows), size(uint64(max(t.Bytes, 0))), fmt.Sprint(t.Chunks), short(t.Estimate), t.Identity, verdict})
	}
	c.out.table(rows)
	for _, t := range plan.Tables {
		lines := mappingLines(t)
		if len(lines)+len(t.Notes)+len(t.Reasons) == 0 {
			continue
		}
		c.out.line("  " + c.out.bold(t.Table))
		for _, text := range lines {
			c.paragraph("    ", text)
		}
		for _, problem := range problems {
			if migrate.Concerns(problem, t.Table, t.As) {
				c.problem("    ", problem)
			}
		}
		for _, note := range t.Notes {
			c.remark("    ", note)
		}
	}
	for _, problem := range problems {
		if name := migrate.ProblemTable(problem); name != "" && !slices.ContainsFunc(plan.Tables, func(t migrate.TablePlan) bool { return t.Table == name }) {
			c.problem("  ", problem)
		}
	}
}

// mappingLines tells what becomes of a table's rows and columns.
func mappingLines(t migrate.TablePlan) []string {
	var lines []string
	if t.Where != "" {
		lines = append(lines, "rows: where "+t.Where)
	}
	if len(t.Renames) > 0 {
		lines = append(lines, "columns: "+renames(t.Renames))
	}
	for _, computed := range t.Computed {
		way := "computed"
		if computed.Side == capability.Legacy {
			way = "on the way back"
		}
		lines = append(lines, fmt.Sprintf("%s, %s: %s = %s", way, computed.Type, computed.Column, computed.SQL))
	}
	if len(t.Omitted) > 0 {
		lines = append(lines, "stay behind: "+strings.Join(t.Omitted, ", "))
	}
	if t.Lossy {
		lines = append(lines, "the way back may lose something (reverse: lossy)")
	}
	return lines
}

func renames(columns map[string]string) string {
	var list []string
	for from, to := range columns {
		list = append(list, from+" becomes "+to)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func (c *cli) planBorder(plan migrate.Plan, problems []capability.Problem) {
	c.out.line("")
	c.out.line(c.out.bold("Border"))
	if len(plan.Border)+len(plan.Dependents)+len(plan.Notes) == 0 {
		c.paragraph("  ", "nothing that the catalog or the text of functions tells of crosses it")
	}
	for _, b := range plan.Border {
		action := "at a switch: " + string(b.AtSwitch)
		switch {
		case b.AtSwitch == "":
			action = c.out.red("not agreed to")
		case b.Dropped:
			action += ", dropped by an earlier one"
		}
		c.paragraph("  ", strings.Join(slices.DeleteFunc([]string{fmt.Sprintf("foreign key %s from %s to %s", b.Constraint, b.From, b.To), b.Actions, action}, func(s string) bool { return s == "" }), ", "))
		for _, l := range b.Loses {
			c.paragraph("    - ", l)
		}
	}
	for _, p := range problems {
		if p.Path == "data.border" {
			c.problem("  ", p)
		}
	}
	for _, d := range plan.Dependents {
		on, label := "", ""
		if d.On != "" {
			on = " on " + d.On
		}
		if d.Found == migrate.FoundText {
			label = " (by its text)"
		}
		c.paragraph("  ", fmt.Sprintf("%s %s%s %s %s%s: %s", d.Kind, d.Name, on, d.Access, d.Table, label, d.Means))
	}
	for _, n := range plan.Notes {
		c.remark("  ", n)
	}
}

func (c *cli) planSettings(plan migrate.Plan, problems []capability.Problem) {
	c.out.line("")
	c.out.line(c.out.bold("Rights and settings"))
	for _, p := range problems {
		if p.Path != "data.border" && migrate.ProblemTable(p) == "" {
			c.problem("  ", p)
		}
	}
	for _, side := range []capability.Side{capability.Legacy, capability.Extracted, ""} {
		for _, n := range plan.Settings {
			if n.Side == side {
				c.remark("  ", n)
			}
		}
	}
}

// problem prints what stands against the move, and the mend on a line of its own.
func (c *cli) problem(indent string, p capability.Problem) {
	where := ""
	if strings.HasPrefix(p.Path, "data.") {
		where = fmt.Sprintf("line %d: ", p.Line)
	} else if p.Path != "" {
		where = p.Path + ": "
	}
	c.paragraph(indent+c.out.red("✗ "), where+p.Message)
	c.mend(indent, p.Mend)
}

func (c *cli) remark(indent string, r migrate.Remark) {
	text := r.Message
	if r.Side != "" {
		text = string(r.Side) + " database: " + text
	}
	c.paragraph(indent+"- ", text)
	c.mend(indent, r.Mend)
}

func (c *cli) mend(indent, mend string) {
	if verb, _, _ := strings.Cut(mend, " "); slices.Contains([]string{"ALTER", "CREATE", "DROP", "GRANT", "REINDEX", "TRUNCATE"}, verb) && !strings.Contains(mend, ";") {
		mend += ";"
	}
	if mend != "" {
		c.out.line(indent + "    " + strings.ReplaceAll(mend, "\n", "\n"+indent+"    "))
	}
}

// paragraph prints text in lines of planWidth, all but the first indented as wide
// as its first part.
func (c *cli) paragraph(first, text string) {
	indent := strings.Repeat(" ", visible(first))
	line, width := first, visible(first)
	for i, word := range strings.Fields(text) {
		n := visible(word)
		if i > 0 && width+1+n > planWidth {
			c.out.line(line)
			line, width = indent, len(indent)
		} else if i > 0 {
			line, width = line+" ", width+1
		}
		line, width = line+word, width+n
	}
	c.out.line(line)
}

// visible is the width of text without its colours.
func visible(s string) int {
	n, hidden := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			hidden = true
		case hidden:
			hidden = r != 'm'
		default:
			n++
		}
	}
	return n
}
