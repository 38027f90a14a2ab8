package sqlstate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestDiscreet: names stay, and values go, in whatever language and quotes a server
// speaks.
func TestDiscreet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		refusal pgconn.PgError
		want    string
	}{
		{pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type integer: "secret"`}, `invalid input syntax for type integer`},
		{pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type integer: "secret " and: "secret"`}, `invalid input syntax for type integer`},
		{pgconn.PgError{Code: "22003", Message: `value "secret" is out of range for type integer`}, `value … is out of range for type integer`},
		{pgconn.PgError{Code: "22P02", Message: `"secret" is not a valid binary digit`}, `… is not a valid binary digit`},
		{pgconn.PgError{Code: "22P02", Message: `ungültige Eingabesyntax für Typ integer: »secret«`}, `ungültige Eingabesyntax für Typ integer`},
		{pgconn.PgError{Code: "22P02", Message: `la sintaxis de entrada no es válida para tipo integer: «secret»`}, `la sintaxis de entrada no es válida para tipo integer`},
		{pgconn.PgError{Code: "22P02", Message: `неверный синтаксис для типа integer: "secret`}, `неверный синтаксис для типа integer`},
		{pgconn.PgError{Code: "22003", Message: `型integerの値 "secret" が範囲外です`}, `型integerの値 … が範囲外です`},
		{pgconn.PgError{Code: "22021", Message: `invalid byte sequence for encoding "UTF8": 0xe4 0x20 0x62`}, `invalid byte sequence for encoding …`},
		{pgconn.PgError{Code: "22P05", Message: `character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent in encoding "LATIN1"`}, `character with byte sequence … in encoding …`},
		{pgconn.PgError{Code: "22001", Message: `value too long for type character varying(3)`}, `value too long for type character varying(3)`},
		{pgconn.PgError{Code: "23505", Message: `duplicate key value violates unique constraint "users_email_key"`}, `duplicate key value violates unique constraint "users_email_key"`},
		{pgconn.PgError{Code: "23502", Message: `null value in column "a" of relation "b" violates not-null constraint`}, `null value in column "a" of relation "b" violates not-null constraint`},
		{pgconn.PgError{Code: "P0001", Message: `no such person: secret`, Routine: "exec_stmt_raise"}, `a function has raised an exception`},
		{pgconn.PgError{Code: "23514", Message: `secret is no person`, Routine: "exec_stmt_raise"}, `a function has raised an exception`},
		{pgconn.PgError{Code: "P0S01", Message: `capability "orders" is owned by extracted`, Routine: "exec_stmt_raise"}, `capability "orders" is owned by extracted`},
		{pgconn.PgError{Code: "42P01", Message: `relation "orders" does not exist`}, `relation "orders" does not exist`},
	} {
		if got := Discreet(&test.refusal); got != test.want+" (SQLSTATE "+test.refusal.Code+")" {
			t.Errorf("%s:\n%s, want\n%s", test.refusal.Message, got, test.want)
		}
		test.refusal.Severity, test.refusal.Where, test.refusal.Detail = "ERROR", `COPY users, line 7, column age: "secret"`, `Key (email)=(secret) already exists.`
		err := fmt.Errorf("write users: %w", Describe(errors.Join(errors.New("read"), fmt.Errorf("column: %w", &test.refusal))))
		if text := err.Error(); strings.Contains(text, "secret") || !strings.Contains(text, test.want) || !strings.Contains(text, "COPY users, line 7, column age") || !strings.Contains(text, "read\ncolumn: ERROR") {
			t.Errorf("described as: %s", text)
		}
		if Of(err) != test.refusal.Code {
			t.Errorf("the code is %q", Of(err))
		}
	}
}

// TestDescribeNamesTheConstraint, the table and the column, which a message need not.
func TestDescribeNamesTheConstraint(t *testing.T) {
	t.Parallel()
	err := Describe(&pgconn.PgError{Severity: "ERROR", Code: "23505", Message: "duplicate key", ConstraintName: "users_email_key"})
	if got := err.Error(); got != `ERROR: duplicate key (SQLSTATE 23505) (constraint users_email_key)` {
		t.Error(got)
	}
	plain := errors.New("connection reset")
	if Describe(plain) != plain || Describe(nil) != nil { //nolint:errorlint // the same error
		t.Error("other errors pass")
	}
}
