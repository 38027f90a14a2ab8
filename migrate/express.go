package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"strangler/capability"
)

// Calculator is a database that says what an expression means there. It changes
// nothing.
type Calculator interface {
	// Compute reads an expression over a row of columns and returns it in normal
	// form: with a result of the given type, or with no type of its own. It returns
	// an ExpressionError for what is none, or is not immutable.
	Compute(ctx context.Context, row []Column, sql, as string) (Expression, error)
	// Constant returns the value as an expression, if it can be one of the type.
	Constant(ctx context.Context, value, as string) (Expression, error)
}

// ExpressionError says why an expression cannot be used.
type ExpressionError struct{ Reason, Mend string }

// Error is the reason with the mend.
func (e *ExpressionError) Error() string { return e.Reason + ": " + e.Mend }

// expressed is what a document computes for one table.
type expressed struct {
	forward, reverse []Computed
	where            *Expression
	// elsewhere is what other parts of a table that is divided do with its columns.
	elsewhere map[string]claim
	// beside are the extracted columns that another legacy table fills.
	beside map[string]string
}

// expresser asks both databases for the expressions of one table. Each is read by
// the database whose columns it names, and must then be accepted by the other one
// in the form that this has given it: there changes are computed, here copies.
type expresser struct {
	doc         capability.Table
	here, there Table // there may not exist
	legacy      Calculator
	extracted   Calculator
	out         expressed
	problems    []capability.Problem
}

// express returns the expressions and what is wrong with them. Those that are
// wrong are left out.
func express(ctx context.Context, doc capability.Table, here, there Table, legacy, extracted Calculator) (expressed, []capability.Problem, error) {
	e := &expresser{doc: doc, here: here, there: there, legacy: legacy, extracted: extracted}
	if doc.Where != "" {
		got, err := e.read(ctx, capability.Legacy, "where", doc.Line, doc.Where, "boolean")
		if err != nil {
			return e.out, nil, err
		}
		e.out.where = got
	}
	for _, c := range doc.Computed {
		if err := e.forward(ctx, c); err != nil {
			return e.out, nil, err
		}
		if there.Kind == "" || mode(doc) == capability.Copy {
			continue
		}
		for _, r := range c.Reverse {
			if err := e.reverse(ctx, c, r); err != nil {
				return e.out, nil, err
			}
		}
	}
	return e.out, e.problems, nil
}

func (e *expresser) report(key string, line int, value, message, mend string) {
	e.problems = append(e.problems, capability.Problem{Path: entry(e.doc), Line: line, Value: value, Message: key + ": " + message, Mend: mend})
}

// forward reads what fills one column of the extracted table.
func (e *expresser) forward(ctx context.Context, c capability.Computed) error {
	column, ok := e.there.Column(c.Column)
	if !ok && e.there.Kind != "" {
		e.report("columns."+c.Column, c.Line, c.Column, fmt.Sprintf("the extracted table %s has no such column", e.there.Relation), "add it there, or write the name as the database has it")
		return nil
	}
	if c.Forward != "" {
		got, err := e.read(ctx, capability.Legacy, "columns."+c.Column, c.Line, c.Forward, column.Type)
		if got != nil {
			e.out.forward = append(e.out.forward, Computed{Column: c.Column, Expression: *got})
		}
		return err
	}
	if !ok {
		column.Type = "text"
	}
	got, err := e.extracted.Constant(ctx, c.Constant, column.Type)
	switch {
	case err == nil:
		e.out.forward = append(e.out.forward, Computed{Column: c.Column, Expression: got, Constant: true})
	case !e.refused("columns."+c.Column, c.Line, c.Constant, err):
		return err
	}
	return nil
}

// reverse reads what fills one column of the legacy table.
func (e *expresser) reverse(ctx context.Context, c capability.Computed, r capability.Reverse) error {
	key := "columns." + c.Column + ".reverse." + r.Column
	column, ok := e.here.Column(r.Column)
	if !ok {
		e.report(key, c.Line, r.Column, fmt.Sprintf("the legacy table %s has no such column", e.here.Relation), "write the name as the database has it")
		return nil
	}
	if slices.Contains(e.here.Key, r.Column) {
		e.report(key, c.Line, r.Column, "it is of the primary key: rows are told apart by it, so it cannot be computed", "move it by its name")
		return nil
	}
	if contains(e.out.reverse, r.Column) {
		e.report(key, c.Line, r.Column, "it comes back twice", "take one out")
		return nil
	}
	got, err := e.read(ctx, capability.Extracted, key, c.Line, r.SQL, column.Type)
	if got != nil {
		e.out.reverse = append(e.out.reverse, Computed{Column: r.Column, Expression: *got})
	}
	return err
}

// read has an expression read on the side whose columns it names, and accepted on
// the other one. Nil without an error: it was refused.
func (e *expresser) read(ctx context.Context, side capability.Side, key string, line int, sql, as string) (*Expression, error) {
	row, here, there := e.here.Columns, e.legacy, e.extracted
	if side == capability.Extracted {
		row, here, there = e.there.Columns, e.extracted, e.legacy
	}
	got, err := here.Compute(ctx, row, sql, as)
	if err != nil {
		if e.refused(key, line, sql, err) {
			return nil, nil //nolint:nilnil // refused, which is a problem and no error
		}
		return nil, err
	}
	var read []Column
	for _, name := range got.Inputs {
		c, _ := Table{Columns: row}.Column(name)
		read = append(read, c)
		if c.Generated {
			e.report(key, line, sql, fmt.Sprintf("column %q is generated, and comes in no stream of changes", name), "write what it is generated from")
			return nil, nil //nolint:nilnil // as above
		}
	}
	if _, err = there.Compute(ctx, read, got.SQL, got.Type); err != nil {
		var wrong *ExpressionError
		if errors.As(err, &wrong) {
			err = &ExpressionError{Reason: fmt.Sprintf("the %s database does not take it: %s", side.Other(), wrong.Reason), Mend: wrong.Mend}
		}
		if e.refused(key, line, sql, err) {
			return nil, nil //nolint:nilnil // as above
		}
		return nil, err
	}
	return &got, nil
}

// refused reports an expression that cannot be used.
func (e *expresser) refused(key string, line int, sql string, err error) bool {
	var wrong *ExpressionError
	if !errors.As(err, &wrong) {
		return false
	}
	e.report(key, line, sql, wrong.Reason, wrong.Mend)
	return true
}
