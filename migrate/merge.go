package migrate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"strangler/capability"
)

// comparison is one table of one verification: the same columns in the same
// order on both sides.
type comparison struct {
	mapping       Mapping
	from, to      Selection // what is read on either side: what the mapping compares, and what both sides generate
	names         []string  // of the terms, on the legacy side where they have one there
	key           []KeyColumn
	keyAt         []int // positions of the key within the columns
	source, other capability.Side
	repair        Repair    // nil: differences are only reported
	after         []string  // key behind which it begins; nil: the beginning
	read          *[2]int64 // how many rows the source and the target have shown; nil: nobody asks
	// doubt is told of what differs, instead of who reports, where that may be the
	// time between the two sides.
	doubt func(key []string)
}

func newComparison(m Mapping, source capability.Side, extra []ColumnPair) comparison {
	c := comparison{mapping: m, source: source, other: source.Other(), key: keyColumns(m.FromKey, m.From)}
	c.from, c.to, c.names = m.comparedWith(extra)
	for _, name := range m.FromKey {
		c.keyAt = append(c.keyAt, slices.Index(m.FromColumns, name))
	}
	return c
}

// merge walks both sides' lines, which are in the order of the key, side by
// side, and reports every row that differs or is on one side only. Each line is
// compared byte for byte: what is equal as a value and differs in its text, such
// as 1.0 and 1.00, differs. row is called for every row, before it is reported;
// where it returns false that row is the last, and its key is returned: everything
// up to it is compared, and nothing behind it.
func (c comparison) merge(source, target io.Reader, row func() bool, report func(unequal)) (last []string, err error) {
	here, there := newLines(source), newLines(target)
	if c.read != nil {
		defer func() { *c.read = [2]int64{here.rows, there.rows} }()
	}
	here.next()
	there.next()
	for here.err == nil || there.err == nil {
		if here.failed() || there.failed() {
			break
		}
		order := 0
		same := here.err == nil && there.err == nil && bytes.Equal(here.line, there.line)
		if !same {
			if order, err = c.order(here, there); err != nil {
				return nil, err
			}
		}
		if !row() {
			head := here
			if order > 0 {
				head = there
			}
			last = c.values(head.line)
		}
		if same {
			here.next()
			there.next()
		} else if err := c.differ(here, there, order, report); err != nil {
			return nil, err
		}
		if last != nil {
			return last, nil
		}
	}
	for _, l := range []*rowLines{here, there} {
		if l.failed() {
			return nil, l.err
		}
	}
	return nil, nil
}

// order says which of two unequal heads comes first; 0 is two versions of a row.
func (c comparison) order(here, there *rowLines) (int, error) {
	switch {
	case here.err != nil:
		return 1, nil
	case there.err != nil:
		return -1, nil
	}
	return c.compareKeys(here.line, there.line)
}

// differ decides what two unequal heads mean, and goes on with the lesser one.
func (c comparison) differ(here, there *rowLines, order int, report func(unequal)) error {
	var left, right []byte // nil: there is no such row on that side
	head := here.line
	if order <= 0 {
		left = here.line
	}
	if order >= 0 {
		right = there.line
	}
	if order > 0 {
		head = there.line
	}
	if key := c.values(head); c.doubt != nil {
		c.doubt(key)
	} else {
		found := capability.Mismatch{Table: c.mapping.Pair.Legacy.Relation.String(), Key: keyText(c.key, key)}
		switch {
		case right == nil:
			found.Detail = "only in " + string(c.source)
		case left == nil:
			found.Detail = "only in " + string(c.other)
		default:
			found.Detail = differs(c.columns(left, right))
		}
		report(unequal{found, c.mapping, key})
	}
	err := c.mend(left, right)
	if left != nil {
		here.next()
	}
	if right != nil {
		there.next()
	}
	return err
}

// mend notes what the target needs to have the source's row: nil is no row.
func (c comparison) mend(here, there []byte) error {
	if c.repair == nil {
		return nil
	}
	if there != nil {
		fields := bytes.Split(there, []byte{'\t'})
		key := make([][]byte, len(c.keyAt))
		for i, at := range c.keyAt {
			key[i] = fields[at]
		}
		if err := c.repair.Remove(bytes.Join(key, []byte{'\t'})); err != nil {
			return err
		}
	}
	if here == nil {
		return nil
	}
	// Behind the target's columns is what is only compared.
	columns := len(c.mapping.ToColumns)
	fields := bytes.SplitN(here, []byte{'\t'}, columns+1)
	return c.repair.Put(bytes.Join(fields[:columns], []byte{'\t'}))
}

func differs(columns []string) string {
	if len(columns) == 1 {
		return "column " + columns[0] + " differs"
	}
	return "columns " + strings.Join(columns, ", ") + " differ"
}

// compareKeys orders two lines by their keys, as both databases have.
func (c comparison) compareKeys(a, b []byte) (int, error) {
	left, right := bytes.Split(a, []byte{'\t'}), bytes.Split(b, []byte{'\t'})
	if terms := len(c.names); len(left) != terms || len(right) != terms {
		return 0, fmt.Errorf("compare %s: a line has %d and %d columns instead of %d", c.mapping.From.Relation, len(left), len(right), terms)
	}
	for i, at := range c.keyAt {
		x, y := left[at], right[at]
		order := 0
		if c.key[i].Number() {
			m, err := strconv.ParseInt(string(x), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("compare %s: %w", c.mapping.From.Relation, err)
			}
			n, err := strconv.ParseInt(string(y), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("compare %s: %w", c.mapping.From.Relation, err)
			}
			switch {
			case m < n:
				order = -1
			case m > n:
				order = 1
			}
		} else {
			order = bytes.Compare(unescape(x), unescape(y))
		}
		if order != 0 {
			return order, nil
		}
	}
	return 0, nil
}

func (c comparison) columns(a, b []byte) []string {
	left, right := bytes.Split(a, []byte{'\t'}), bytes.Split(b, []byte{'\t'})
	var names []string
	for i := range left {
		if !bytes.Equal(left[i], right[i]) {
			names = append(names, c.names[i])
		}
	}
	return names
}

func (c comparison) values(line []byte) []string {
	fields := bytes.Split(line, []byte{'\t'})
	values := make([]string, len(c.keyAt))
	for i, at := range c.keyAt {
		values[i] = string(unescape(fields[at]))
	}
	return values
}

// keyText shows a key without giving away what may be personal: numbers and
// UUIDs as they are, anything else by its hash.
func keyText(key []KeyColumn, values []string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		if !key[i].Number() && key[i].Type != "uuid" {
			v = KeyHash([][]byte{[]byte(v)})
		}
		parts[i] = key[i].Name + "=" + v
	}
	return strings.Join(parts, " ")
}

// rowLines reads the text form of COPY line by line.
type rowLines struct {
	reader *bufio.Reader
	line   []byte // without its end; valid until next
	err    error  // io.EOF at the end
	rows   int64  // up to and with this line
}

func newLines(r io.Reader) *rowLines { return &rowLines{reader: bufio.NewReaderSize(r, 256<<10)} }

func (l *rowLines) next() {
	line, err := l.reader.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line = slices.Clone(line)
		var rest []byte
		rest, err = l.reader.ReadBytes('\n')
		line = append(line, rest...)
	}
	if err != nil && (len(line) > 0 && errors.Is(err, io.EOF)) {
		err = io.ErrUnexpectedEOF // COPY ends every line
	}
	if l.line, l.err = bytes.TrimSuffix(line, []byte{'\n'}), err; err == nil {
		l.rows++
	}
}

func (l *rowLines) failed() bool { return l.err != nil && !errors.Is(l.err, io.EOF) }

// unescape takes the escapes of COPY's text form back. Only those that COPY TO
// writes occur.
func unescape(field []byte) []byte {
	if bytes.IndexByte(field, '\\') < 0 {
		return field
	}
	plain := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		if field[i] != '\\' || i+1 == len(field) {
			plain = append(plain, field[i])
			continue
		}
		i++
		if at := strings.IndexByte("bfnrtv", field[i]); at >= 0 {
			plain = append(plain, "\b\f\n\r\t\v"[at])
		} else {
			plain = append(plain, field[i])
		}
	}
	return plain
}
