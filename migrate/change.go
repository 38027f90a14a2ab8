package migrate

// Change is one change of one row (or a truncation) in the terms of the target:
// Values by position in the mapping's columns, Key by position in its key.
type Change struct {
	Kind  ChangeKind
	Table int // position in the stream's mappings
	// Key finds the row on the target as it is before the change. Nil for an
	// insert and a truncation.
	Key [][]byte
	// Values is the row as it becomes; nil for a delete and a truncation. As the
	// stream hands it over, they are those that the mapping takes of the source's
	// row; what is computed of them follows in the target, which can.
	Values []Value
	// Old are the values that the mapping takes, as they were before an update or a
	// delete. Filled only where the mapping has a Where.
	Old []Value
	// Moved says that an update changes the key.
	Moved bool
	// Tables are emptied together; for a truncation only.
	Tables []int
	// Halves are the changes of two tables that are one change of the table in which
	// they are joined, or the one of them that changes it. Then there are no Values.
	Halves []Change
}

// ChangeKind says what a change does.
type ChangeKind byte

// The kinds of changes.
const (
	ChangeInsert   ChangeKind = 'I'
	ChangeUpdate   ChangeKind = 'U'
	ChangeDelete   ChangeKind = 'D'
	ChangeTruncate ChangeKind = 'T'
)
