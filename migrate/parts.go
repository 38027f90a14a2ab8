package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// parts compares what the tables are made of on both sides.
func (p *planner) parts(ctx context.Context, legacy, extracted Database) error {
	var all []Relation
	for _, d := range p.layout.all {
		all = append(all, d.From.Relation)
	}
	here, err := legacy.Parts(ctx, distinct(all), nil)
	if err != nil {
		return err
	}
	there, err := extracted.Parts(ctx, distinct(relations(p.layout.pairs, capability.Extracted)), here)
	if err != nil {
		return err
	}
	v := compareParts(here, there, p.servers[capability.Extracted].Extensions, len(p.layout.missing) > 0)
	for _, side := range capability.Sides {
		parts := here
		if side == capability.Extracted {
			parts = there
		}
		v.searchPaths(side, parts, p.code[side])
	}
	for _, o := range v.obstacles {
		p.refuse(capability.Problem{Path: string(capability.Extracted) + " database", Message: o.Message, Mend: o.Mend})
	}
	p.plan.Notes = append(p.plan.Notes, v.notes...)
	return nil
}

// compareParts holds what the legacy tables are made of against the same in the
// extracted database. Available are the extensions that could be made there;
// making says that tables are missing there, which will need all of it.
func compareParts(here, there []Part, available map[string]string, making bool) verdicts {
	var v verdicts
	for _, a := range here {
		i := slices.IndexFunc(there, func(b Part) bool { return b.Kind == a.Kind && b.Name == a.Name })
		if i < 0 {
			v.missing(a, available, making)
			continue
		}
		b := there[i]
		switch a.Kind {
		case "extension":
			v.note(a.Version != b.Version, fmt.Sprintf("ALTER EXTENSION %s UPDATE TO '%s'", sqlName(a.Name), a.Version), "extension %s is %s in the legacy database and %s in the extracted one", a.Name, a.Version, b.Version)
		case "collation":
			v.note(a.Version != b.Version, "", "collation %s is version %s on the legacy server and %s on the extracted one: text may sort differently", a.Name, a.Version, b.Version)
		case "function":
			v.note(a.Definition != b.Definition, "make them the same, where a check, an index or a generated column calls them", "function %s differs in the extracted database", a.Name)
		case "type":
			v.types(a, b)
		}
	}
	for i, parts := range [][]Part{here, there} {
		for _, c := range parts {
			v.note(c.Kind == "collation" && c.Recorded != "" && c.Recorded != c.Version, fmt.Sprintf("REINDEX DATABASE; -- or what uses it, then: ALTER COLLATION %s REFRESH VERSION", c.Name),
				"indexes by collation %s of the %s database were built with version %s, and the system has %s: they may miss rows", c.Name, capability.Sides[i], c.Recorded, c.Version)
		}
	}
	return v
}

func (v *verdicts) types(a, b Part) {
	switch {
	case a.Definition == b.Definition:
	case strings.Contains(a.Definition, " AS ENUM ("):
		v.refuse(true, "ALTER TYPE "+a.Name+" ADD VALUE … until both have the same in the same order", "type %s has other labels in the extracted database", a.Name)
	default:
		v.refuse(true, fmt.Sprintf("make it the same; the legacy one is: %s", a.Definition), "type %s differs in the extracted database: %s", a.Name, b.Definition)
	}
}

// missing judges what the extracted database lacks.
func (v *verdicts) missing(a Part, available map[string]string, making bool) {
	if !making {
		return // tables that are there do without it
	}
	switch {
	case a.Kind == "extension":
		version, can := available[a.Name]
		v.refuse(!can, "install the package that brings it on the server of the extracted database, or make the tables there by hand without it",
			"extension %s %s is needed, and the server of the extracted database has none", a.Name, a.Version)
		v.note(can && version != a.Version, "", "extension %s is %s in the legacy database and will be %s in the extracted one", a.Name, a.Version, version)
	case a.Definition == "":
		v.refuse(true, "make it there by hand, as in the legacy database", "%s %s is not in the extracted database", a.Kind, a.Name)
	}
}

// searchPaths finds functions that will not find what they call: the mover's
// sessions have an empty search_path, as pg_dump's have.
func (v *verdicts) searchPaths(side capability.Side, parts []Part, code Code) {
	for _, p := range parts {
		i := slices.IndexFunc(code.Routines, func(r Routine) bool { return p.Kind == "function" && r.Name == p.Name })
		if i < 0 || slices.ContainsFunc(code.Routines[i].Settings, func(s string) bool { return strings.HasPrefix(s, "search_path=") }) {
			continue
		}
		if name := unqualified(code.Routines[i].Body, code); name != "" {
			v.notes = append(v.notes, Remark{Side: side, Message: fmt.Sprintf("function %s, which the tables call, names %s without its schema: a write of the mover's that calls it would not find that", p.Name, name),
				Mend: fmt.Sprintf("ALTER FUNCTION %s SET search_path = %s", p.Name, sqlName(p.Schema))})
		}
	}
}

// unqualified finds a call or a use of something of the database's own without
// its schema.
func unqualified(body string, code Code) string {
	list := words(body, false)
	for i, w := range list {
		if !w.name || i > 0 && list[i-1].text == "." {
			continue
		}
		if i+1 < len(list) && list[i+1].text == "(" && slices.ContainsFunc(code.Routines, func(r Routine) bool { return bare(r.Name) == w.text }) {
			return w.text
		}
		if i > 0 && slices.Contains([]string{"from", "join", "into", "update"}, list[i-1].text) && slices.ContainsFunc(code.Tables, func(t Relation) bool { return t.Name == w.text }) {
			return w.text
		}
	}
	return ""
}

// bare is a routine's name without schema and arguments.
func bare(signature string) string {
	list := words(signature, false)
	for i, w := range list {
		if w.text == "(" && i > 0 {
			return list[i-1].text
		}
	}
	return signature
}
