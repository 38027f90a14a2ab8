package migrate

import (
	"slices"
	"strings"
)

// word is one token of SQL or of a function's source.
type word struct {
	text   string // as the catalog has it: folded, or without its quotes
	quoted bool   // a name in quotes
	name   bool   // may name something; anything else is a symbol or a constant
}

// words takes source apart. Comments are left out. With inside, what stands in
// string constants is taken apart as well: a statement may be put together there.
func words(source string, inside bool) []word {
	var list []word
	for at := 0; at < len(source); {
		rest := source[at:]
		size := 1
		switch c := rest[0]; {
		case strings.HasPrefix(rest, "--"):
			size = through(rest, 2, "\n")
		case strings.HasPrefix(rest, "/*"):
			size = through(rest, 2, "*/")
		case c == '"':
			size = through(rest, 1, `"`)
			for strings.HasPrefix(rest[size:], `"`) {
				size += through(rest[size:], 1, `"`)
			}
			list = append(list, word{strings.ReplaceAll(strings.TrimSuffix(rest[1:size], `"`), `""`, `"`), true, true})
		case c == '\'' && !inside:
			size = through(rest, 1, "'")
			list = append(list, word{text: rest[:size]})
		case nameByte(c) && (c < '0' || c > '9'):
			for size < len(rest) && (nameByte(rest[size]) || rest[size] == '$') {
				size++
			}
			list = append(list, word{strings.ToLower(rest[:size]), false, true})
		case strings.IndexByte(" \t\r\n", c) < 0:
			list = append(list, word{text: rest[:size]})
		}
		at += size
	}
	return list
}

// through is the length of s up to and with the end, which is looked for after
// some bytes.
func through(s string, after int, end string) int {
	if i := strings.Index(s[after:], end); i >= 0 {
		return after + i + len(end)
	}
	return len(s)
}

func nameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// mentions finds the tables that source names, and whether it writes them as far
// as the words before the name tell. It knows no scopes: a column or a variable
// of a table's name is taken for the table.
func mentions(source string, tables []Relation) map[Relation]Access {
	found := map[Relation]Access{}
	list := words(source, true)
	for i, w := range list {
		if !w.name {
			continue
		}
		schema, start := "", i
		if i >= 2 && list[i-1].text == "." && list[i-2].name {
			schema, start = list[i-2].text, i-2
		}
		for _, t := range tables {
			if t.Name != w.text || schema != "" && schema != t.Schema {
				continue
			}
			if written(list[:start]) {
				found[t] = Writes
			} else if found[t] == "" {
				found[t] = Reads
			}
		}
	}
	return found
}

// written says whether the words end as a statement does that writes the table
// named next.
func written(before []word) bool {
	last := func(n int) string {
		if len(before) < n {
			return ""
		}
		return before[len(before)-n].text
	}
	if last(1) == "only" || last(1) == "table" {
		before = before[:len(before)-1]
	}
	switch last(1) {
	case "into", "update", "truncate", "copy":
		return true
	case "from":
		return last(2) == "delete"
	}
	return false
}

// sameText compares two expressions of the two sides, the first one's columns
// under their new names.
func sameText(here, there string, rename map[string]string) bool {
	a, b := words(here, false), words(there, false)
	for i, w := range a {
		if as, ok := rename[w.text]; ok && w.name {
			a[i].text = as
		}
	}
	return slices.EqualFunc(a, b, func(x, y word) bool { return x.text == y.text && x.name == y.name })
}

// SQL writes the relation as statements do.
func (r Relation) SQL() string { return sqlName(r.Schema) + "." + sqlName(r.Name) }

// sqlName writes a name as statements do: in quotes where it needs them.
func sqlName(name string) string {
	plain := name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" && (name[0] < '0' || name[0] > '9')
	if plain && !slices.Contains(reserved, name) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func sqlNames(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = sqlName(n)
	}
	return strings.Join(list, ", ")
}

// reserved are PostgreSQL's reserved words, which are no names without quotes.
var reserved = strings.Fields(`all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column
	concurrently constraint create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user default
	deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is
	isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary
	references returning right select session_user similar some symmetric system_user table tablesample then to trailing true union unique user using
	variadic verbose when where window with`)
