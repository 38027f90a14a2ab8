package migrate

import "encoding/binary"

// Exclusion says by which values rows of a mapping's target exclude one another:
// those of its key first, in the order of the mapping's ToKey, then those of every
// other unique index. Nil where that cannot be told from the values that changes
// carry: an exclusion constraint, an expression, a column that is computed, or a
// type whose equal values may be written differently.
type Exclusion []Distinct

// Distinct is one set of columns that no two rows have the same values in.
type Distinct struct {
	Columns []int // positions in the mapping's ToColumns
	Nulls   bool  // NULL counts as a value like others
}

// claims calls with a name for everything that a change may exclude others by. Changes
// that share no name may be made in any order, and neither waits for the other. What
// an update or a delete gives up of values outside of the key is not among them: the source does
// not say.
func (e Exclusion) claims(c Change, claim func(string)) {
	name := binary.AppendUvarint(nil, uint64(c.Table)) //nolint:gosec // a position in a slice
	if e == nil || c.Halves != nil {
		claim(string(name))
		return
	}
	if c.Key != nil {
		claim(pack(name, 0, c.Key))
	}
	if c.Values == nil {
		return
	}
	for i, distinct := range e {
		if values, ok := distinct.of(c); ok {
			claim(pack(name, i, values))
		}
	}
}

// of returns the values of a change's new row, if they are there and count.
func (d Distinct) of(c Change) ([][]byte, bool) {
	values := make([][]byte, len(d.Columns))
	for i, at := range d.Columns {
		v := c.Values[at]
		if v.Unchanged || v.Text == nil && !d.Nulls {
			return nil, false
		}
		values[i] = v.Text
	}
	return values, true
}

// pack is one name for values of a table's i-th exclusion.
func pack(table []byte, i int, values [][]byte) string {
	packed := binary.AppendUvarint(append([]byte(nil), table...), uint64(i)) //nolint:gosec // a position in a slice
	for _, v := range values {
		if v == nil {
			packed = append(packed, 0)
			continue
		}
		packed = append(binary.AppendUvarint(packed, uint64(len(v))+1), v...)
	}
	return string(packed)
}
