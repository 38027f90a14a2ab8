package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// converted are the types that an expression's result is converted to by itself,
// as an INSERT would. Not those that a conversion cuts to a length: the one of an
// expression does that without a word, where an INSERT refuses.
var converted = []string{"smallint", "integer", "bigint", "real", "double precision", "numeric", "text", "character varying", "date", "json", "jsonb", "bytea", "uuid", "boolean", "inet", "time", "interval"}

// Compute reads an expression over a row of columns. PostgreSQL is asked for all
// of it, in a transaction that is undone: that it is one expression, immutable,
// over nothing but the row, is what a generated column has to be, and what it
// keeps of it is the normal form.
func (d *Database) Compute(ctx context.Context, row []migrate.Column, sql, as string) (migrate.Expression, error) {
	if err := balanced(sql); err != nil {
		return migrate.Expression{}, err
	}
	var e migrate.Expression
	err := d.undone(ctx, func(tx pgx.Tx) (err error) {
		columns := make([]string, len(row))
		for i, c := range row {
			columns[i] = quote.Ident(c.Name) + " " + typed(c)
		}
		if _, err = tx.Exec(ctx, "CREATE TEMPORARY TABLE strangler_row ("+strings.Join(columns, ", ")+") ON COMMIT DROP"); err != nil {
			return d.untried(err)
		}
		own, err := ownType(ctx, tx, sql)
		if err != nil {
			return err
		}
		if as == "" || as == own {
			e, err = generate(ctx, tx, len(row), 0, sql, own)
			return unusable(err)
		}
		another := &migrate.ExpressionError{Reason: fmt.Sprintf("it is of type %s, and %s is wanted", own, as), Mend: fmt.Sprintf("write (%s)::%s, if that is meant, or give both the same type", sql, as)}
		if !converts(as) {
			return another
		}
		_, err = generate(ctx, tx, len(row), 0, sql, as) // as an INSERT would convert it
		if sqlstate.Of(err) == "42804" {
			return another
		}
		if err != nil {
			return unusable(err)
		}
		e, err = generate(ctx, tx, len(row), 1, "("+sql+"\n)::"+as, as)
		return unusable(err)
	})
	return e, err
}

// converts says whether results are converted to a type by themselves.
func converts(to string) bool {
	base, _, bounded := strings.Cut(to, "(")
	switch {
	case strings.HasPrefix(to, "time"): // the bound is within: timestamp(3) without time zone
		base = "time"
	case strings.HasPrefix(to, "interval"):
		base = "interval"
	}
	return slices.Contains(converted, base) && (base != "character varying" || !bounded)
}

// Constant returns a value as an expression: the text that the type writes for it.
func (d *Database) Constant(ctx context.Context, value, as string) (migrate.Expression, error) {
	e := migrate.Expression{Type: as}
	err := d.undone(ctx, func(tx pgx.Tx) error {
		results, err := tx.Conn().PgConn().Exec(ctx, "CREATE TEMPORARY TABLE strangler_value (v "+as+") ON COMMIT DROP; INSERT INTO pg_temp.strangler_value VALUES ("+quote.Literal(value)+"); SELECT v FROM pg_temp.strangler_value").ReadAll()
		if err != nil {
			return d.untried(err)
		}
		e.SQL = quote.Literal(string(results[2].Rows[0][0])) + "::text"
		return nil
	})
	return e, err
}

// undone runs a function in a transaction that changes nothing.
func (d *Database) undone(ctx context.Context, do func(pgx.Tx) error) error {
	tx, err := d.pool.Begin(ctx)
	if err == nil {
		err = do(tx)
		if back := tx.Rollback(ctx); err == nil {
			err = back
		}
	}
	var wrong *migrate.ExpressionError
	if err != nil && !errors.As(err, &wrong) {
		err = fmt.Errorf("look at an expression in %s database: %w", d.side, err)
	}
	return err
}

// typed is a column's type with its collation, as definitions write it.
func typed(c migrate.Column) string {
	if c.Collation != "" {
		return c.Type + " COLLATE " + c.Collation
	}
	return c.Type
}

// ownType is the type of an expression's result by itself.
func ownType(ctx context.Context, tx pgx.Tx, sql string) (own string, err error) {
	described, err := tx.Conn().PgConn().Prepare(ctx, "", "SELECT ("+sql+"\n) FROM pg_temp.strangler_row", nil)
	if err != nil {
		return "", unusable(err)
	}
	if len(described.Fields) != 1 || len(described.ParamOIDs) != 0 {
		return "", &migrate.ExpressionError{Reason: "it is not one expression", Mend: "write one value"}
	}
	field := described.Fields[0]
	err = tx.QueryRow(ctx, "SELECT format_type($1::oid, $2::int4)", field.DataTypeOID, field.TypeModifier).Scan(&own)
	return own, err
}

// generate makes the n-th column of an expression beside those of the row, and
// returns what PostgreSQL has understood.
func generate(ctx context.Context, tx pgx.Tx, row, n int, sql, as string) (migrate.Expression, error) {
	name := fmt.Sprintf("strangler value %d", n)
	if _, err := tx.Exec(ctx, fmt.Sprintf("ALTER TABLE pg_temp.strangler_row ADD COLUMN %s %s GENERATED ALWAYS AS (%s\n) STORED", quote.Ident(name), as, sql)); err != nil {
		return migrate.Expression{}, err
	}
	e := migrate.Expression{Type: as}
	var columns int
	err := tx.QueryRow(ctx, `
		SELECT pg_get_expr(f.adbin, f.adrelid), (SELECT count(*) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0), coalesce(i.names, '{}'), coalesce(i.large, '{}')
		FROM pg_class c JOIN pg_attribute v ON v.attrelid = c.oid AND v.attname = $1
		JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = v.attnum
		CROSS JOIN LATERAL (
			SELECT array_agg(a.attname::text ORDER BY a.attnum) AS names, array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attlen = -1 AND a.attstorage <> 'p') AS large
			FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attnum <> v.attnum AND EXISTS (
				SELECT FROM pg_depend p WHERE p.refclassid = 'pg_class'::regclass AND p.refobjid = c.oid AND p.refobjsubid = a.attnum
				AND (p.classid = 'pg_attrdef'::regclass AND p.objid = f.oid OR p.classid = 'pg_class'::regclass AND p.objid = c.oid AND p.objsubid = v.attnum))) i -- before 15 the column depends
		WHERE c.oid = 'pg_temp.strangler_row'::regclass`, name).Scan(&e.SQL, &columns, &e.Inputs, &e.Large)
	switch {
	case err != nil:
		return e, err
	case columns != row+n+1:
		return e, &migrate.ExpressionError{Reason: "it is more than one expression", Mend: "write one value"}
	case strings.Contains(e.SQL, "tableoid"):
		return e, &migrate.ExpressionError{Reason: "it reads tableoid, which is another one in every database", Mend: "write it without"}
	}
	return e, nil
}

// untried is what keeps the table from being made in which an expression is tried.
func (d *Database) untried(err error) error {
	if sqlstate.Of(err) != "42501" {
		return unusable(err)
	}
	return &migrate.ExpressionError{Reason: "it cannot be tried: role " + quote.Ident(d.config.User) + " may make no temporary table in the " + string(d.side) + " database",
		Mend: "GRANT TEMPORARY ON DATABASE " + quote.Ident(d.config.Database) + " TO " + quote.Ident(d.config.User)}
}

// unusable is what PostgreSQL has against an expression, where the expression is
// to blame.
func unusable(err error) error {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Code {
	case "42P17": // generation expression is not immutable, uses other columns that are generated, …
		return &migrate.ExpressionError{Reason: refusal.Message, Mend: "use only what gives the same result for the same values at any time and under any setting: no now(), no to_char or casts that a setting decides"}
	case "42704", "42883":
		return &migrate.ExpressionError{Reason: refusal.Message, Mend: "write names with their schema, and types by casts; both databases must have them"}
	}
	switch refusal.Code[:2] {
	case "0A", "21", "22", "23", "42", "54":
		return &migrate.ExpressionError{Reason: refusal.Message, Mend: "write one SQL expression over the columns of the one table; types, functions and operators outside of pg_catalog with their schema"}
	}
	return err
}

// balanced refuses text that closes a parenthesis which it has not opened, or ends
// a statement, outside of constants and names in quotes. What else could make an
// expression end early is found by what PostgreSQL makes of it.
func balanced(sql string) error {
	depth, quoted := 0, byte(0)
	for i := range len(sql) {
		c := sql[i]
		switch {
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '\'' || c == '"':
			quoted = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if depth < 0 || c == ';' && quoted == 0 {
			return &migrate.ExpressionError{Reason: "it is not one expression", Mend: "close only the parentheses that it opens, and write no semicolon"}
		}
	}
	if depth != 0 || quoted != 0 {
		return &migrate.ExpressionError{Reason: "it is not one expression", Mend: "close the parentheses and quotes that it opens"}
	}
	return nil
}
