// Package quote writes names and constants for statements.
package quote

import (
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

// Ident writes one name for a statement.
func Ident(name string) string { return pgx.Identifier{name}.Sanitize() }

// Relation writes a relation with its schema.
func Relation(r migrate.Relation) string { return pgx.Identifier{r.Schema, r.Name}.Sanitize() }

// Idents writes a list of names for a statement.
func Idents(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = Ident(name)
	}
	return strings.Join(quoted, ", ")
}

// Literal writes a string constant for a statement that takes no parameters.
func Literal(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return `E'` + strings.ReplaceAll(s, `\`, `\\`) + `'`
	}
	return "'" + s + "'"
}
