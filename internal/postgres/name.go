package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

// ident writes one name for a statement.
func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

// idents writes a list of names for a statement.
func idents(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = ident(name)
	}
	return strings.Join(quoted, ", ")
}

// literal writes a string constant for a statement that takes no parameters.
func literal(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return `E'` + strings.ReplaceAll(s, `\`, `\\`) + `'`
	}
	return "'" + s + "'"
}

// One adapter implements all that a mover asks of a database.
var _ migrate.Database = (*Database)(nil)
