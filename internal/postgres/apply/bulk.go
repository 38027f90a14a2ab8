package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/migrate"
)

// errUneven says that a bulk did not find its rows, or broke a constraint on its
// way: written one by one the changes may fit, or show which of them does not.
var errUneven = errors.New("changes do not fit together")

// judgeBulk says what came of a bulk of n changes.
func (s *Session) judgeBulk(n int, affected int64, err error) error {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		switch refusal.Code[:2] {
		case "22", "23", "42":
			return errUneven
		}
	}
	if err != nil {
		return s.plain(affected, err)
	}
	if affected != int64(n) {
		return errUneven
	}
	return nil
}

// form is what an update sets: a character for each of the mapping's columns, and
// empty where it sets nothing.
func (w *Writer) form(c migrate.Change) string {
	form := make([]byte, len(c.Values))
	sets := false
	for i, v := range c.Values {
		form[i] = '0'
		if !v.Unchanged && !w.fixed[i] && !slices.Contains(w.keyAt, i) {
			form[i], sets = '1', true
		}
	}
	if !sets {
		return ""
	}
	return string(form)
}

// bulk returns one statement for changes of one kind and form, and its
// parameters: an array of texts for each column. Every value is read by the input
// function of its column's type, as it is where changes go one by one.
func (w *Writer) bulk(kind migrate.ChangeKind, changes []migrate.Change) (sql string, params [][]byte) {
	switch kind {
	case migrate.ChangeInsert:
		return w.bulkInsert(changes)
	case migrate.ChangeDelete:
		return fmt.Sprintf("DELETE FROM %s AS t USING %s WHERE %s", w.table, given(len(w.keyAt)), w.joined(0)+w.guard()), w.keyArrays(changes)
	default:
		return w.bulkUpdate(changes)
	}
}

func (w *Writer) bulkInsert(changes []migrate.Change) (string, [][]byte) {
	values := make([]string, len(w.columns))
	params := make([][]byte, len(w.columns))
	for i := range w.columns {
		values[i] = fmt.Sprintf("u.strangler_%d::%s", i, w.types[i])
		params[i] = textArray(len(changes), func(n int) []byte { return changes[n].Values[i].Text })
	}
	return w.kept(fmt.Sprintf("INSERT INTO %s (%s)%s SELECT %s FROM %s", w.table, strings.Join(w.columns, ", "), w.overriding(), strings.Join(values, ", "), given(len(w.columns)))), params
}

func (w *Writer) bulkUpdate(changes []migrate.Change) (string, [][]byte) {
	var set []string
	var params [][]byte
	for i, sets := range w.form(changes[0]) {
		if sets != '1' {
			continue
		}
		set = append(set, fmt.Sprintf("%s = u.strangler_%d::%s", w.columns[i], len(params), w.types[i]))
		params = append(params, textArray(len(changes), func(n int) []byte { return changes[n].Values[i].Text }))
	}
	where := w.joined(len(params)) + w.guard()
	params = append(params, w.keyArrays(changes)...)
	return w.kept(fmt.Sprintf("UPDATE %s AS t SET %s FROM %s WHERE %s", w.table, strings.Join(set, ", "), given(len(params)), where)), params
}

// given is the rows that are handed over, one array a column. Its names are those
// of no column: a guard writes the table's bare.
func given(columns int) string {
	arrays, names := make([]string, columns), make([]string, columns)
	for i := range columns {
		arrays[i], names[i] = fmt.Sprintf("$%d::text[]", i+1), fmt.Sprintf("strangler_%d", i)
	}
	return "unnest(" + strings.Join(arrays, ", ") + ") AS u (" + strings.Join(names, ", ") + ")"
}

// joined finds the rows of t by the key columns of u, from the given one on.
func (w *Writer) joined(first int) string {
	on := make([]string, len(w.keyAt))
	for i, at := range w.keyAt {
		on[i] = fmt.Sprintf("t.%s %s u.strangler_%d::%s", w.columns[at], w.equals[i], first+i, w.types[at])
	}
	return strings.Join(on, " AND ")
}

func (w *Writer) keyArrays(changes []migrate.Change) [][]byte {
	params := make([][]byte, len(w.keyAt))
	for i := range w.keyAt {
		params[i] = textArray(len(changes), func(n int) []byte { return changes[n].Key[i] })
	}
	return params
}

// oidText is that of the type text in every PostgreSQL.
const oidText = 25

// textArray is a text[] in PostgreSQL's binary form: one dimension from 1 on.
func textArray(n int, value func(int) []byte) []byte {
	size := 20
	nulls := uint32(0)
	for i := range n {
		v := value(i)
		size += 4 + len(v)
		if v == nil {
			nulls = 1
		}
	}
	b := make([]byte, 0, size)
	for _, word := range []uint32{1, nulls, oidText, uint32(n), 1} { //nolint:gosec // n is bounded by a batch
		b = binary.BigEndian.AppendUint32(b, word)
	}
	for i := range n {
		v := value(i)
		if v == nil {
			b = binary.BigEndian.AppendUint32(b, 0xffffffff)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(v))) //nolint:gosec // a value of PostgreSQL has less than 1 GiB
		b = append(b, v...)
	}
	return b
}

// binaries are the formats of n binary parameters.
func binaries(n int) []int16 { return slices.Repeat([]int16{pgx.BinaryFormatCode}, n) }
