package apply

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// Writer writes the statements that change one table of the target.
type Writer struct {
	mapping migrate.Mapping
	table   string   // quoted
	columns []string // of the mapping, quoted
	types   []string // of the columns
	keyAt   []int    // of the key's columns, where among the columns
	// equals are the operators of the key's index: those of an extension's type
	// are not found through an empty search_path, and a fallback to another
	// operator would find other rows, slowly.
	equals []string
	// fixed are the columns that no UPDATE may name: GENERATED ALWAYS AS IDENTITY.
	fixed []bool
	// rewrites says that one of them is outside the key, so that an update cannot
	// tell whether it changes.
	rewrites bool
	identity bool // of either kind
	// ordered says that rows of the table exclude one another by more than their
	// key, so that the order of changes of different kinds counts.
	ordered bool
	// exclusion is how rows of the table exclude one another.
	exclusion migrate.Exclusion
}

func newWriter(m migrate.Mapping, equals map[string]string, ordered bool) *Writer {
	w := &Writer{mapping: m, table: quote.Relation(m.To.Relation), ordered: ordered}
	for _, name := range m.ToColumns {
		c, _ := m.To.Column(name)
		w.columns = append(w.columns, pgx.Identifier{name}.Sanitize())
		w.types = append(w.types, c.Type)
		w.fixed = append(w.fixed, c.Identity == "always")
		w.identity = w.identity || c.Identity != ""
		w.rewrites = w.rewrites || c.Identity == "always" && !slices.Contains(m.ToKey, name)
	}
	for _, name := range m.ToKey {
		w.keyAt = append(w.keyAt, slices.Index(m.ToColumns, name))
		operator := "="
		if schema, ok := equals[name]; ok {
			operator = "OPERATOR(" + pgx.Identifier{schema}.Sanitize() + ".=)"
		}
		w.equals = append(w.equals, operator)
	}
	return w
}

// Statement returns the SQL of a change and its parameters as text. Changes of
// the same form give the same SQL.
func (w *Writer) Statement(c migrate.Change) (sql string, params [][]byte) {
	switch c.Kind {
	case migrate.ChangeInsert:
		sql, params := w.insert(c)
		return w.kept(sql), params
	case migrate.ChangeDelete:
		return "DELETE FROM " + w.table + w.whereKey(1) + w.guard(), c.Key
	default:
		return w.update(c)
	}
}

func (w *Writer) insert(c migrate.Change) (string, [][]byte) {
	marks := make([]string, len(c.Values))
	params := make([][]byte, len(c.Values))
	for i, v := range c.Values {
		marks[i], params[i] = fmt.Sprintf("$%d", i+1), v.Text
	}
	return fmt.Sprintf("INSERT INTO %s (%s)%s VALUES (%s)", w.table, strings.Join(w.columns, ", "), w.overriding(), strings.Join(marks, ", ")), params
}

// guard is what a row must fulfil, besides its key, to be written at all.
func (w *Writer) guard() string {
	if w.mapping.Guard == nil {
		return ""
	}
	return " AND (" + w.mapping.Guard.SQL + ")"
}

// kept is a statement that counts only the rows that fulfil the guard when they
// are written: others would be there for nobody, and are found to be missing.
func (w *Writer) kept(sql string) string {
	if w.mapping.Guard == nil {
		return sql
	}
	return "WITH kept AS (" + sql + " RETURNING *) SELECT FROM kept WHERE (" + w.mapping.Guard.SQL + ")"
}

func (w *Writer) overriding() string {
	if w.identity {
		return " OVERRIDING SYSTEM VALUE"
	}
	return ""
}

// whereKey finds a row by key, with parameters from the given number on.
func (w *Writer) whereKey(first int) string {
	var b strings.Builder
	for i, at := range w.keyAt {
		word := " AND "
		if i == 0 {
			word = " WHERE "
		}
		// Compared with a row, a parameter without a type would be of no type of row.
		fmt.Fprintf(&b, "%s%s %s $%d::%s", word, w.columns[at], w.equals[i], first+i, w.types[at])
	}
	return b.String()
}

// update leaves out what the source did not send (the row has it already), and
// the key unless it changes.
func (w *Writer) update(c migrate.Change) (string, [][]byte) {
	if w.rewrites || c.Moved && w.movesFixed(c) {
		return w.rewrite(c)
	}
	var set []string
	var params [][]byte
	for i, v := range c.Values {
		if v.Unchanged || w.fixed[i] || !c.Moved && slices.Contains(w.keyAt, i) {
			continue
		}
		params = append(params, v.Text)
		set = append(set, fmt.Sprintf("%s = $%d", w.columns[i], len(params)))
	}
	where := w.whereKey(len(params)+1) + w.guard()
	params = append(params, c.Key...)
	if len(set) == 0 { // nothing to change, but the row must be there
		return "SELECT FROM " + w.table + where + " FOR UPDATE", params
	}
	return w.kept("UPDATE " + w.table + " SET " + strings.Join(set, ", ") + where), params
}

// movesFixed says whether an update changes an identity column of the key.
func (w *Writer) movesFixed(c migrate.Change) bool {
	for i, at := range w.keyAt {
		if v := c.Values[at]; w.fixed[at] && !v.Unchanged && string(v.Text) != string(c.Key[i]) {
			return true
		}
	}
	return false
}

// rewrite updates a row by deleting and inserting it in one statement, which is
// the only way to change a column GENERATED ALWAYS AS IDENTITY. What the source
// did not send, and what only the target has, is taken from the deleted row.
func (w *Writer) rewrite(c migrate.Change) (string, [][]byte) {
	var names, values []string
	var params [][]byte
	for _, column := range w.mapping.To.Columns {
		if column.Generated {
			continue
		}
		name := pgx.Identifier{column.Name}.Sanitize()
		names = append(names, name)
		i := slices.Index(w.mapping.ToColumns, column.Name)
		if i < 0 || c.Values[i].Unchanged {
			values = append(values, "gone."+name)
			continue
		}
		params = append(params, c.Values[i].Text)
		values = append(values, fmt.Sprintf("$%d", len(params)))
	}
	gone := fmt.Sprintf("WITH gone AS (DELETE FROM %s%s RETURNING *)", w.table, w.whereKey(len(params)+1)+w.guard())
	insert := fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM gone", w.table, strings.Join(names, ", "), strings.Join(values, ", "))
	if kept, ok := strings.CutPrefix(w.kept(insert), "WITH"); ok { // one WITH for both
		return gone + "," + kept, append(params, c.Key...)
	}
	return gone + " " + insert, append(params, c.Key...)
}
