package config

import (
	"math"
	"strings"

	"strangler/capability"
)

// defaultGap leaves room for numbers that were drawn from a sequence of the old
// owner and not yet written.
const defaultGap = 10_000

func (v value) data() *capability.Data {
	s := v.section()
	if s == nil {
		return nil
	}
	d := &capability.Data{State: capability.DataStopped, Capture: capability.CaptureAuto, Gap: defaultGap}
	set(s, "state", &d.State, words(capability.DataStopped, capability.DataPaused, capability.DataRunning, capability.DataRetired))
	if v, ok := s.need("database", "write its connection string, as in ${ORDERS_DATABASE_URL}"); ok {
		d.Database, _ = v.database()
	}
	set(s, "capture", &d.Capture, words(capability.CaptureAuto, capability.CaptureWAL, capability.CaptureTrigger))
	set(s, "rate", &d.Rate, value.count)
	if v, ok := s.need("tables", "list the tables it owns, as in `- table: orders`"); ok {
		d.TableLine = v.node.Line
		d.Tables = v.tables()
	}
	if v, ok := s.take("border"); ok {
		d.Border = v.border()
	}
	if v, ok := s.take("sequences"); ok {
		if s := v.section(); s != nil {
			set(s, "gap", &d.Gap, func(v value) (int64, bool) { return v.integer(0, math.MaxInt32) })
			set(s, "named", &d.Sequences, func(v value) ([]capability.Sequence, bool) { return v.sequences(), true })
			s.close()
		}
	}
	s.close()
	return d
}

// checkRetired holds a data section that says that it is over against what must be
// true then.
func (r *reading) checkRetired(d capability.Document) {
	if d.Data == nil || d.Data.State != capability.DataRetired {
		return
	}
	if d.Traffic.Owner != capability.Extracted || d.Traffic.Weight != capability.Whole {
		r.add(r.lines["data.state"], "data.state", string(d.Data.State), "is for what extracted owns, with every reader",
			"write owner: extracted and weight: 100% under traffic, or another state")
	}
}

// database reads a connection string. It is never shown: it holds a password.
func (v value) database() (string, bool) {
	v.secret = true
	text, ok := v.text()
	if !ok {
		return "", false
	}
	if !connectionString(text) {
		v.problem("is no connection string of PostgreSQL", "write postgres://user:password@host:5432/name")
		return "", false
	}
	return text, true
}

func connectionString(s string) bool {
	if scheme, _, isURL := strings.Cut(s, "://"); isURL {
		return scheme == "postgres" || scheme == "postgresql"
	}
	return strings.Contains(s, "=") // host=… dbname=…
}

func (v value) tables() []capability.Table {
	items, _ := v.list()
	var tables []capability.Table
	from, to := map[string][]capability.Table{}, map[string][]capability.Table{}
	for _, item := range items {
		s := item.section()
		if s == nil {
			continue
		}
		table, ok := s.table()
		if here, there := qualified(table.Table), qualified(table.As); ok && item.joins(table, from, to) && item.divides(table, from[here]) {
			from[here], to[there] = append(from[here], table), append(to[there], table)
			tables = append(tables, table)
		}
	}
	return tables
}

func (s *section) table() (capability.Table, bool) {
	table := capability.Table{Mode: capability.Move, Line: s.line}
	v, ok := s.need("table", "name it as the legacy database does")
	if ok {
		table.Table, ok = v.relation("table")
	}
	table.As = table.Table
	set(s, "as", &table.As, func(v value) (string, bool) { return v.relation("table") })
	set(s, "mode", &table.Mode, words(capability.Move, capability.Copy))
	if v, ok := s.take("columns"); ok {
		v.columns(&table)
	}
	set(s, "omit", &table.Omit, func(v value) ([]string, bool) { return v.omitted(table) })
	set(s, "where", &table.Where, value.text)
	set(s, "reverse", &table.Lossy, func(v value) (bool, bool) {
		_, ok := v.oneOf("lossy")
		return ok, ok
	})
	s.close()
	return table, ok
}

// relation reads the name of a table or sequence, with its schema or without.
func (v value) relation(kind string) (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	parts := strings.Split(text, ".")
	for _, part := range parts {
		if ok = ok && identifier(part); !ok {
			break
		}
	}
	if !ok || len(parts) > 2 {
		v.problem("is no name of a "+kind, "write "+kind+" or schema."+kind+", without quotes of SQL")
		return "", false
	}
	return text, true
}

// identifier says whether the text can be a name in PostgreSQL that needs no
// more than quotes around it.
func identifier(name string) bool {
	return strings.TrimSpace(name) == name && name != "" && len(name) <= 63 && !strings.ContainsAny(name, `"'()`+"\x00")
}

// sequences reads those that writers ask by name.
func (v value) sequences() []capability.Sequence {
	items, _ := v.list()
	var sequences []capability.Sequence
	from, to := map[string]bool{}, map[string]bool{}
	for _, item := range items {
		s := item.section()
		if s == nil {
			continue
		}
		named, ok := s.sequence()
		switch {
		case !ok:
		case from[qualified(named.Sequence)]:
			item.problem("names a sequence that is listed already: "+named.Sequence, "take one out")
		case to[qualified(named.As)]:
			item.problem("maps a second sequence to "+named.As, "give it another name by `as`")
		default:
			from[qualified(named.Sequence)], to[qualified(named.As)] = true, true
			sequences = append(sequences, named)
		}
	}
	return sequences
}

func (s *section) sequence() (capability.Sequence, bool) {
	named := capability.Sequence{Line: s.line}
	v, ok := s.need("sequence", "name it as the legacy database does")
	if ok {
		named.Sequence, ok = v.relation("sequence")
	}
	named.As = named.Sequence
	set(s, "as", &named.As, func(v value) (string, bool) { return v.relation("sequence") })
	s.close()
	return named, ok
}

func (v value) border() []capability.Border {
	items, _ := v.list()
	var border []capability.Border
	seen := map[string]bool{}
	for _, item := range items {
		s := item.section()
		if s == nil {
			continue
		}
		agreed := capability.Border{Line: s.line}
		if v, ok := s.need("constraint", "name the foreign key as the legacy database does"); ok {
			agreed.Constraint, _ = v.text()
		}
		if v, ok := s.need("at_switch", "write drop, or keep for a key that points out of the capability"); ok {
			word, _ := v.oneOf(string(capability.BorderDrop), string(capability.BorderKeep))
			agreed.AtSwitch = capability.BorderAction(word)
		}
		s.close()
		if agreed.Constraint != "" && seen[agreed.Constraint] {
			item.problem("names a foreign key that is listed already: "+agreed.Constraint, "take one out")
			continue
		}
		seen[agreed.Constraint] = true
		border = append(border, agreed)
	}
	return border
}
