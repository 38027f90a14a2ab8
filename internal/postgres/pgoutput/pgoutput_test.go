package pgoutput

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"

	"strangler/capability"
	"strangler/migrate"
)

// seeds are messages as a server sends them.
var seeds = [][]byte{
	[]byte("B\x00\x00\x00\x00\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x02\x03"),
	[]byte("C\x00\x00\x00\x00\x00\x01\x02\x03\x04\x00\x00\x00\x00\x01\x02\x03\x08\x00\x00\x00\x00\x00\x00\x00\x01"),
	[]byte("O\x00\x00\x00\x00\x00\x00\x00\x00strangler_orders_legacy\x00"),
	[]byte("R\x00\x00\x00\x05public\x00t\x00d\x00\x02\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff\x00n\x00\x00\x00\x00\x19\x00\x00\x00\x07"),
	[]byte("R\x00\x00\x00\x05\x00pg_class\x00f\x00\x00"),
	[]byte("Y\x00\x00\x40\x00public\x00mood\x00"),
	[]byte("I\x00\x00\x00\x05N\x00\x03t\x00\x00\x00\x011t\x00\x00\x00\x00n"),
	[]byte("U\x00\x00\x00\x05N\x00\x02t\x00\x00\x00\x011u"),
	[]byte("U\x00\x00\x00\x05K\x00\x02t\x00\x00\x00\x011nN\x00\x02t\x00\x00\x00\x012u"),
	[]byte("U\x00\x00\x00\x05O\x00\x01t\x00\x00\x00\x011N\x00\x01n"),
	[]byte("D\x00\x00\x00\x05K\x00\x01t\x00\x00\x00\x011"),
	[]byte("T\x00\x00\x00\x02\x03\x00\x00\x00\x05\x00\x00\x00\x06"),
	[]byte("M\x01\x00\x00\x00\x00\x01\x02\x03\x04strangler\x00\x00\x00\x00\x05nonce"),
}

func TestDecode(t *testing.T) {
	t.Parallel()
	text := func(s string) migrate.Value { return migrate.Value{Text: []byte(s)} }
	want := []migrate.Event{
		migrate.Begin{Commit: 0x1020304, Time: postgresEpoch.Add(1000), ID: 0x203},
		migrate.Commit{Commit: 0x1020304, End: 0x1020308},
		migrate.Origin{Name: "strangler_orders_legacy"},
		migrate.Shape{ID: 5, Relation: migrate.Relation{Schema: "public", Name: "t"}, Identity: 'd', Columns: []migrate.ShapeColumn{
			{Name: "id", Key: true, Type: 23, Modifier: -1}, {Name: "n", Type: 25, Modifier: 7}}},
		migrate.Shape{ID: 5, Relation: migrate.Relation{Schema: "pg_catalog", Name: "pg_class"}, Identity: 'f'},
		nil,
		migrate.Row{Kind: migrate.Insert, Relation: 5, New: []migrate.Value{text("1"), {Text: []byte{}}, {}}},
		migrate.Row{Kind: migrate.Update, Relation: 5, New: []migrate.Value{text("1"), {Unchanged: true}}},
		migrate.Row{Kind: migrate.Update, Relation: 5, Old: []migrate.Value{text("1"), {}}, New: []migrate.Value{text("2"), {Unchanged: true}}},
		migrate.Row{Kind: migrate.Update, Relation: 5, Old: []migrate.Value{text("1")}, New: []migrate.Value{{}}},
		migrate.Row{Kind: migrate.Delete, Relation: 5, Old: []migrate.Value{text("1")}},
		migrate.Truncate{Relations: []uint32{5, 6}},
		migrate.Message{Prefix: "strangler", Content: "nonce"},
	}
	for i, seed := range seeds {
		got, err := Decode(seed)
		if err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%q:\ngot  %#v, %v\nwant %#v", seed, got, err, want[i])
		}
		for cut := range len(seed) {
			if got, err := Decode(seed[:cut]); err == nil && seed[0] != 'Y' {
				t.Errorf("%q, cut at %d, is %#v", seed, cut, got)
			}
		}
		if got, err := Decode(append(seed[:len(seed):len(seed)], 0)); err == nil && seed[0] != 'Y' {
			t.Errorf("%q with a byte more is %#v", seed, got)
		}
	}
}

// FuzzDecode holds the decoder against another one: whatever ours reads, the
// other reads as the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		event, err := Decode(data)
		if err != nil || event == nil {
			return
		}
		other, err := pglogrepl.Parse(data)
		if err != nil && len(data) <= 8 {
			return // it takes no row without columns
		}
		if err != nil {
			t.Fatalf("%q: ours read %#v, the other %v", data, event, err)
		}
		if begin, ok := event.(migrate.Begin); ok {
			begin.Time = time.Time{} // the other one overflows after 292 years
			event = begin
		}
		if ours, theirs := fmt.Sprint(event), fmt.Sprint(translated(t, other)); ours != theirs {
			t.Errorf("%q:\nours   %s\ntheirs %s", data, ours, theirs)
		}
	})
}

// translated writes the other decoder's message in our words.
func translated(t *testing.T, other pglogrepl.Message) migrate.Event {
	switch m := other.(type) {
	case *pglogrepl.BeginMessage:
		return migrate.Begin{Commit: capability.Position(m.FinalLSN), ID: m.Xid}
	case *pglogrepl.CommitMessage:
		return migrate.Commit{Commit: capability.Position(m.CommitLSN), End: capability.Position(m.TransactionEndLSN)}
	case *pglogrepl.OriginMessage:
		return migrate.Origin{Name: m.Name}
	case *pglogrepl.RelationMessage:
		s := migrate.Shape{ID: m.RelationID, Relation: migrate.Relation{Schema: m.Namespace, Name: m.RelationName}, Identity: m.ReplicaIdentity}
		if s.Relation.Schema == "" {
			s.Relation.Schema = "pg_catalog"
		}
		for _, c := range m.Columns {
			s.Columns = append(s.Columns, migrate.ShapeColumn{Name: c.Name, Key: c.Flags&1 != 0, Type: c.DataType, Modifier: c.TypeModifier})
		}
		return s
	case *pglogrepl.InsertMessage:
		return migrate.Row{Kind: migrate.Insert, Relation: m.RelationID, New: values(m.Tuple)}
	case *pglogrepl.UpdateMessage:
		return migrate.Row{Kind: migrate.Update, Relation: m.RelationID, Old: values(m.OldTuple), New: values(m.NewTuple)}
	case *pglogrepl.DeleteMessage:
		return migrate.Row{Kind: migrate.Delete, Relation: m.RelationID, Old: values(m.OldTuple)}
	case *pglogrepl.TruncateMessage:
		return migrate.Truncate{Relations: m.RelationIDs}
	case *pglogrepl.LogicalDecodingMessage:
		return migrate.Message{Prefix: m.Prefix, Content: string(m.Content)}
	}
	t.Fatalf("the other decoder read %T", other)
	return nil
}

func values(tuple *pglogrepl.TupleData) (values []migrate.Value) {
	if tuple == nil {
		return nil
	}
	for _, c := range tuple.Columns {
		values = append(values, migrate.Value{Text: c.Data, Unchanged: c.DataType == pglogrepl.TupleDataTypeToast})
	}
	return values
}
