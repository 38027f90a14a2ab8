// Package pgoutput reads the messages of the output plugin of that name.
package pgoutput

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// errShort is returned for a message that ends before it should.
var errShort = errors.New("the message is cut short")

// postgresEpoch is the zero of PostgreSQL's timestamps.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Decode reads one message of pgoutput's protocol version 1 (PostgreSQL,
// "Logical Replication Message Formats"). The event shares no memory with data.
// A message that says nothing to a stream, as a type's name, is a nil event.
func Decode(data []byte) (migrate.Event, error) {
	m := message{rest: bytes.Clone(data)}
	kind := m.byte()
	var event migrate.Event
	switch kind {
	case 'B':
		event = migrate.Begin{Commit: m.position(), Time: m.time(), ID: m.uint32()}
	case 'C':
		m.skip(1) // flags
		event = migrate.Commit{Commit: m.position(), End: m.position()}
		m.skip(8) // time
	case 'O':
		m.skip(8) // position in the origin's log
		event = migrate.Origin{Name: m.text()}
	case 'R':
		event = m.shape()
	case 'Y':
		m.rest = nil
	case 'I', 'U', 'D':
		event = m.row(migrate.RowKind(kind))
	case 'T':
		event = m.truncate()
	case 'M':
		m.skip(9) // flags, position
		event = migrate.Message{Prefix: m.text(), Content: string(m.bytes(int(m.uint32())))}
	default:
		return nil, fmt.Errorf("read change stream: unknown message %q", kind)
	}
	if m.err == nil && len(m.rest) > 0 {
		m.err = fmt.Errorf("%d bytes too many", len(m.rest))
	}
	if m.err != nil {
		return nil, fmt.Errorf("read change stream: message %q: %w", kind, m.err)
	}
	return event, nil
}

// message is what is left to read of one. The first error sticks; after it
// everything reads as zero.
type message struct {
	rest []byte
	err  error
}

func (m *message) bytes(n int) []byte {
	if n < 0 || n > len(m.rest) {
		m.fail(errShort)
		return nil
	}
	b := m.rest[:n:n]
	m.rest = m.rest[n:]
	return b
}

func (m *message) fail(err error) {
	if m.err == nil {
		m.err = err
	}
	m.rest = nil
}

func (m *message) skip(n int) { m.bytes(n) }

func (m *message) byte() byte {
	if b := m.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (m *message) uint16() uint16 {
	if b := m.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (m *message) uint32() uint32 {
	if b := m.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (m *message) uint64() uint64 {
	if b := m.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (m *message) position() capability.Position { return capability.Position(m.uint64()) }

func (m *message) time() time.Time { return moment(m.uint64()) }

// moment converts PostgreSQL's microseconds.
func moment(micros uint64) time.Time {
	return time.UnixMicro(postgresEpoch.UnixMicro() + int64(micros)).UTC()
}

// text reads up to the next zero byte.
func (m *message) text() string {
	end := bytes.IndexByte(m.rest, 0)
	if end < 0 {
		m.fail(errShort)
		return ""
	}
	return string(m.bytes(end + 1)[:end])
}

func (m *message) shape() migrate.Shape {
	s := migrate.Shape{ID: m.uint32(), Relation: migrate.Relation{Schema: m.text(), Name: m.text()}, Identity: m.byte()}
	if s.Relation.Schema == "" {
		s.Relation.Schema = "pg_catalog" // which the protocol abbreviates
	}
	for range m.uint16() {
		if m.err != nil {
			break
		}
		s.Columns = append(s.Columns, migrate.ShapeColumn{
			Key: m.byte()&1 != 0, Name: m.text(), Type: m.uint32(), Modifier: int32(m.uint32()),
		})
	}
	return s
}

func (m *message) row(kind migrate.RowKind) migrate.Row {
	r := migrate.Row{Kind: kind, Relation: m.uint32()}
	tuple := m.byte()
	if kind != migrate.Insert && (tuple == 'K' || tuple == 'O') {
		r.Old = m.tuple()
		if kind == migrate.Delete {
			return r
		}
		tuple = m.byte()
	}
	if tuple != 'N' || kind == migrate.Delete {
		m.fail(fmt.Errorf("a tuple of kind %q", tuple))
		return r
	}
	r.New = m.tuple()
	return r
}

func (m *message) tuple() []migrate.Value {
	n := int(m.uint16())
	if n > len(m.rest) { // each column takes a byte at least
		m.fail(errShort)
	}
	if m.err != nil {
		return nil
	}
	values := make([]migrate.Value, n)
	for i := range values {
		switch state := m.byte(); state {
		case 'n':
		case 'u':
			values[i].Unchanged = true
		case 't':
			values[i].Text = m.bytes(int(m.uint32()))
		default:
			m.fail(fmt.Errorf("a column in format %q", state))
			return nil
		}
	}
	return values
}

func (m *message) truncate() migrate.Truncate {
	n := int(m.uint32())
	m.skip(1) // options: sequences are carried at a switch, and nothing cascades out of the list
	if n > len(m.rest)/4 {
		m.fail(errShort)
	}
	if m.err != nil {
		return migrate.Truncate{}
	}
	t := migrate.Truncate{Relations: make([]uint32, n)}
	for i := range t.Relations {
		t.Relations[i] = m.uint32()
	}
	return t
}
