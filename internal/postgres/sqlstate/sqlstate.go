// Package sqlstate reads what a server refuses: its code, where it arose, and its
// message without the values of rows, which may be secret.
package sqlstate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Of is the SQLSTATE of a server's error; empty for any other.
func Of(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// Describe adds to a server's error where it arose. It leaves the values of rows
// out: they may be secret.
func Describe(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	text := ""
	if pg.ConstraintName != "" {
		text += " (constraint " + pg.ConstraintName + ")"
	}
	if where, _, found := strings.Cut(pg.Where, ":"); found && strings.HasPrefix(where, "COPY ") {
		text += " (" + where + ")"
	}
	if text == "" {
		return err
	}
	return fmt.Errorf("%w%s", err, text)
}

// Discreet is PostgreSQL's message without values of rows, which it quotes at
// the end.
func Discreet(refusal *pgconn.PgError) string {
	message, _, _ := strings.Cut(refusal.Message, `: "`)
	return fmt.Sprintf("%s (SQLSTATE %s)", message, refusal.Code)
}
