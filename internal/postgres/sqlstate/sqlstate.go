// Package sqlstate reads what a server refuses: its code, where it arose, and its
// message without the values of rows, which may be secret.
package sqlstate

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

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
// out, which may be secret: what is below it still has them, for whoever asks.
func Describe(err error) error {
	var (
		pg      *pgconn.PgError
		already *described
	)
	if errors.As(err, &already) || !errors.As(err, &pg) {
		return err
	}
	text := err.Error()
	for _, one := range refusals(err, nil) {
		text = strings.ReplaceAll(text, one.Message, message(one))
	}
	if pg.ConstraintName != "" {
		text += " (constraint " + pg.ConstraintName + ")"
	}
	if where, _, found := strings.Cut(pg.Where, ":"); found && strings.HasPrefix(where, "COPY ") {
		text += " (" + where + ")"
	}
	return &described{err, text}
}

// described is an error under another text.
type described struct {
	err  error
	text string
}

func (d *described) Error() string { return d.text }

func (d *described) Unwrap() error { return d.err }

// refusals are all of a server's errors that an error is made of.
func refusals(err error, list []*pgconn.PgError) []*pgconn.PgError {
	switch e := err.(type) { //nolint:errorlint // looks at each by itself
	case *pgconn.PgError:
		return append(list, e)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			list = refusals(one, list)
		}
	case interface{ Unwrap() error }:
		return refusals(e.Unwrap(), list)
	}
	return list
}

// Discreet is PostgreSQL's message without values of rows.
func Discreet(refusal *pgconn.PgError) string {
	return fmt.Sprintf("%s (SQLSTATE %s)", message(refusal), refusal.Code)
}

// Hides says whether Discreet leaves something out.
func Hides(refusal *pgconn.PgError) bool { return message(refusal) != refusal.Message }

// ours begins the codes of the errors that the product's own functions raise.
const ours = "P0S"

// message is what may be told of a refusal. What a function raises has whatever its author
// put in. About values that do not fit (class 22) the server puts them in quotes, which
// language it speaks decides which; names are in quotes only where no value is.
func message(refusal *pgconn.PgError) string {
	switch {
	case refusal.Routine == "exec_stmt_raise" && !strings.HasPrefix(refusal.Code, ours):
		return "a function has raised an exception"
	case strings.HasPrefix(refusal.Code, "22"):
		text := refusal.Message
		if first := strings.IndexFunc(text, quoting); first >= 0 {
			last := strings.LastIndexFunc(text, quoting)
			_, width := utf8.DecodeRuneInString(text[last:])
			rest := text[last+width:]
			if last == first { // it does not end
				rest = ""
			}
			text = text[:first] + "…" + rest
		}
		text = octets.ReplaceAllLiteralString(text, "…")
		return strings.TrimSuffix(text, ": …")
	}
	text, _, _ := strings.Cut(refusal.Message, `: "`)
	return text
}

// octets are the bytes of a text that is none.
var octets = regexp.MustCompile(`0x[0-9a-f]{2}( 0x[0-9a-f]{2})*`)

func quoting(r rune) bool { return strings.ContainsRune(`"«»„“”「」『』`, r) }
