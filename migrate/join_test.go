package migrate

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"strangler/capability"
)

// halved is a stream from two tables a and b into one, t, all with the key id.
func halved() []Mapping {
	column := func(names ...string) (list []Column) {
		for _, name := range names {
			list = append(list, Column{Name: name, Type: "text"})
		}
		return list
	}
	whole := Table{Relation: Relation{"public", "t"}, Columns: column("id", "left", "right"), Key: []string{"id"}}
	var list []Mapping
	for _, half := range []string{"left", "right"} {
		part := Table{Relation: Relation{"public", half}, Columns: column("id", half), Key: []string{"id"}}
		p := Pair{Mode: capability.Move, Legacy: whole, Extracted: part, Columns: []ColumnPair{{"id", "id"}, {half, half}}}
		list = append(list, p.Direct(capability.Extracted))
	}
	return list
}

// halves is a source of two tables and its target, where a stream of the source's
// changes is applied as a database would.
type halves struct {
	joints *joints
	parts  [2]map[string]string
	whole  map[string][2]string
	told   []string
}

func newHalves() *halves {
	return &halves{joints: newJoints(capability.Extracted, halved()), parts: [2]map[string]string{{}, {}}, whole: map[string][2]string{}}
}

func text(s string) Value { return Value{Text: []byte(s)} }

// source does something to a half, and returns the change; false: it cannot.
func (h *halves) source(half int, kind ChangeKind, from, to, value string) (Change, bool) {
	rows := h.parts[half]
	_, is := rows[from]
	_, taken := rows[to]
	c := Change{Kind: kind, Table: half}
	switch kind {
	case ChangeInsert:
		if taken {
			return c, false
		}
		rows[to], c.Values = value, []Value{text(to), text(value)}
	case ChangeDelete:
		if !is {
			return c, false
		}
		delete(rows, from)
		c.Key = [][]byte{[]byte(from)}
	default:
		if !is || taken && from != to {
			return c, false
		}
		c.Key, c.Moved = [][]byte{[]byte(from)}, from != to
		c.Values = []Value{text(to), text(value)}
		if value == "" { // large, and left alone
			value, c.Values[1] = rows[from], Value{Unchanged: true}
		}
		delete(rows, from)
		rows[to] = value
	}
	return c, true
}

// apply does changes of the whole table, and fails where a database would.
func (h *halves) apply(changes []Change) error {
	for _, c := range changes {
		key := ""
		if c.Key != nil {
			key = string(c.Key[0])
		}
		row, is := h.whole[key]
		h.told = append(h.told, fmt.Sprintf("%c %s", c.Kind, key))
		switch c.Kind {
		case ChangeTruncate:
			h.whole = map[string][2]string{}
			continue
		case ChangeInsert:
			row, is = [2]string{}, true
		default:
			delete(h.whole, key)
		}
		if !is {
			return fmt.Errorf("%c %q is missing", c.Kind, key)
		}
		if c.Kind == ChangeDelete {
			continue
		}
		for _, half := range c.Halves {
			key = string(half.Values[0].Text)
			if v := half.Values[1]; !v.Unchanged {
				row[half.Table] = string(v.Text)
			}
		}
		if _, taken := h.whole[key]; taken || c.Kind == ChangeInsert && len(c.Halves) != 2 {
			return fmt.Errorf("%c %q: duplicate, or half a row", c.Kind, key)
		}
		h.whole[key] = row
	}
	return nil
}

// do is one transaction of such things: a or b, then i, d, u, or t, and keys.
func (h *halves) do(t *testing.T, script string) error {
	t.Helper()
	h.joints.begin()
	for _, word := range strings.Fields(script) {
		half := int(word[0] - 'a')
		var c Change
		ok := true
		switch parts := strings.Split(word[2:], ">"); word[1] {
		case 'i':
			c, ok = h.source(half, ChangeInsert, "", parts[0], word)
		case 'd':
			c, ok = h.source(half, ChangeDelete, parts[0], "", "")
		case 'u':
			c, ok = h.source(half, ChangeUpdate, parts[0], parts[len(parts)-1], word)
		case 'k': // a key alone
			c, ok = h.source(half, ChangeUpdate, parts[0], parts[len(parts)-1], "")
		default:
			clear(h.parts[half])
			c = Change{Kind: ChangeTruncate, Tables: []int{half}}
		}
		if !ok {
			t.Fatalf("%s cannot be done", word)
		}
		changes, err := h.joints.take(c)
		if err == nil {
			err = h.apply(changes)
		}
		if err != nil {
			return err
		}
	}
	changes, err := h.joints.end()
	if err != nil {
		return err
	}
	return h.apply(changes)
}

func (h *halves) equal() error {
	for i := range h.parts {
		if len(h.parts[i]) != len(h.whole) {
			return fmt.Errorf("%d rows of %d", len(h.whole), len(h.parts[i]))
		}
		for key, value := range h.parts[i] {
			if h.whole[key][i] != value {
				return fmt.Errorf("row %s has %q, not %q", key, h.whole[key][i], value)
			}
		}
	}
	return nil
}

// TestHalvesAreJoined: transactions that leave both halves with the same rows come to
// those rows, and others to a conflict that says what to do.
func TestHalvesAreJoined(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"ai7 bi7":                             "",
		"ai7 au7 bi7 bu7":                     "",
		"bu1 au2 au1":                         "",
		"ad1 bd1":                             "",
		"bd1 bd2 ad2 ad1":                     "",
		"ad1 ai1":                             "", // as an application saves that does not know UPDATE
		"ad1 ai1 bd1 bi1":                     "",
		"ad1 bd1 bi1 bu1 ai1 au1":             "",
		"ai7 ad7":                             "",
		"ai7 ad7 ai7 bi7":                     "",
		"ak1>7 bk1>7":                         "",
		"ak1>7 au7 bu1 bk1>7":                 "",
		"ak1>7 ak7>8 bk1>8":                   "",
		"ak1>7 ak7>1":                         "",
		"ak1>7 ak7>1 bu1>9 bu9>1":             "",
		"ak1>7 ak2>1 ak7>2 bk1>7 bk2>1 bk7>2": "",
		"ak1>7 bk1>7 ak2>1 bk2>1 ak7>2 bk7>2": "",
		"ak1>5 bk1>6 ak2>1 bk2>1 bk6>5":       "",
		"ad1 ai7 bk1>7":                       "",
		"ak1>7 ak2>1 bd1 bi1 bd2 bu1>7 bi1":   "",
		"ak1>7 ak2>1 bd1 bi7 bk2>1":           "",
		"au1>7 au2>1 au7>2 bu1>8 bu2>1 bu8>2": "",
		"ad1 ad2 ai2 bk1>9 bk2>1 bd1 bk9>2":   "",
		"ad1 ak2>1 bd1 bk2>1":                 "",
		"at bt":                               "",
		"at ai7 bt bi7":                       "",
		"ad1 at ai1 ai2 bi8 bt bi1 bi2":       "",
		"at bt at bt ai1 bi1":                 "",
		"ai7 bi7 at bt":                       "",
		"at":                                  "table left of the extracted database was truncated, and right not in the same transaction",
		"at bd1 bd2 bd3":                      "was truncated",
		"ai7":                                 "it was inserted in table left of the extracted database, and not in right in the same transaction",
		"bi7 au1":                             "it was inserted in table right of the extracted database, and not in left",
		"ad1 ad2 bd2":                         "it was deleted in table left",
		"ak1>7":                               "it has got another key in table left",
		"ak1>7 bk1>8":                         "has got another key",
		"ai7 bi8":                             "was inserted",
		"ak1>7 ak2>1 ak7>2":                   "has got its key by way of other keys",
		"ak1>7 ak2>1 ak7>2 bk1>8 bk2>1 bk8>2": "trades its key with another row, by way of other keys in left than in right",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			h := newHalves()
			if err := h.do(t, "ai1 bi1 ai2 bi2 ai3 bi3"); err != nil {
				t.Fatal(err)
			}
			err := h.do(t, script)
			var conflict *ConflictError
			switch {
			case want == "" && err == nil:
				err = h.equal()
				fallthrough
			case want == "":
				if err != nil {
					t.Errorf("%v; told %q", err, h.told)
				}
			case !errors.As(err, &conflict) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "strangler data repair"):
				t.Errorf("%v, want %q", err, want)
			}
			if j := h.joints.list[0]; len(j.waiting[0])+len(j.waiting[1]) > 0 {
				t.Errorf("left waiting: %v", j.waiting)
			}
		})
	}
}

// TestWhatIsCompleteIsNotKept: of a transaction of any size only what lacks its other
// half is in memory.
func TestWhatIsCompleteIsNotKept(t *testing.T) {
	t.Parallel()
	h := newHalves()
	for n := range 1000 {
		for half := range 2 {
			c, _ := h.source(half, ChangeInsert, "", fmt.Sprint(n), "v")
			changes, err := h.joints.take(c)
			if err != nil || len(changes) != half {
				t.Fatalf("half %d of row %d: %v, %v", half, n, changes, err)
			}
		}
		if waiting := h.joints.list[0].waiting; len(waiting[0])+len(waiting[1]) > 0 {
			t.Fatalf("kept: %v", waiting)
		}
	}
}

// TestRandomHalves: whatever a transaction does to the halves, in whatever order, the
// whole table has the same rows at its end, or the transaction has left a half alone.
func TestRandomHalves(t *testing.T) {
	t.Parallel()
	if whole, refused := randomlyHalved(t, false); whole < 5000 || refused > whole/10 {
		t.Errorf("%d transactions were whole, and %d of them refused", whole, refused)
	}
}

// TestRandomHalvesWithAllValues: none of them is refused that leaves both halves with
// the same rows, where the source sends all values, as triggers do, which make one
// transaction of many.
func TestRandomHalvesWithAllValues(t *testing.T) {
	t.Parallel()
	if whole, refused := randomlyHalved(t, true); whole < 5000 || refused > 0 {
		t.Errorf("%d transactions were whole, and %d of them refused", whole, refused)
	}
}

func randomlyHalved(t *testing.T, all bool) (whole, refused int) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 20_000 {
		h := newHalves()
		for key := range 4 {
			for half := range 2 {
				h.parts[half][fmt.Sprint(key)] = fmt.Sprint("old", half, key)
			}
			h.whole[fmt.Sprint(key)] = [2]string{h.parts[0][fmt.Sprint(key)], h.parts[1][fmt.Sprint(key)]}
		}
		scripts := randomHalves(r)
		script := fmt.Sprint(scripts)
		h.joints.begin()
		var err error
		for err == nil && len(scripts[0])+len(scripts[1]) > 0 {
			half := r.IntN(2)
			if len(scripts[half]) == 0 {
				half = 1 - half
			}
			one := scripts[half][0]
			scripts[half] = scripts[half][1:]
			if all && one.kind == ChangeUpdate && one.value == "" {
				one.value = h.parts[half][one.from]
			}
			c, ok := h.source(half, one.kind, one.from, one.to, one.value)
			if !ok {
				continue
			}
			var changes []Change
			if changes, err = h.joints.take(c); err == nil {
				if err = h.apply(changes); err != nil {
					t.Fatalf("seed %d: %s: %v; told %q", seed, script, err, h.told)
				}
			}
		}
		if err == nil {
			var changes []Change
			if changes, err = h.joints.end(); err == nil {
				if err = h.apply(changes); err != nil {
					t.Fatalf("seed %d: %s: %v; told %q", seed, script, err, h.told)
				}
			}
		}
		same := maps.EqualFunc(h.parts[0], h.parts[1], func(string, string) bool { return true })
		switch {
		case err != nil && !errors.As(err, new(*ConflictError)):
			t.Fatalf("seed %d: %s: %v", seed, script, err)
		case err != nil && same:
			if refused++; all {
				t.Fatalf("seed %d: %s: %v", seed, script, err)
			}
		case err == nil && !same:
			t.Fatalf("seed %d: %s: a half was left alone and nobody said so; told %q", seed, script, h.told)
		case err == nil:
			whole++
			if err := h.equal(); err != nil {
				t.Fatalf("seed %d: %s: %v; told %q", seed, script, err, h.told)
			}
		}
	}
	t.Logf("%d whole, %d refused", whole, refused)
	return whole, refused
}

// thing is one change of a half.
type thing struct {
	kind            ChangeKind
	from, to, value string
}

// randomHalves are changes of both halves, mostly of the same rows.
func randomHalves(r *rand.Rand) (scripts [2][]thing) {
	for n := range 1 + r.IntN(6) {
		from, to, value := fmt.Sprint(r.IntN(6)), fmt.Sprint(r.IntN(6)), fmt.Sprint("new", n)
		what := r.IntN(10)
		alone := r.IntN(20) == 0
		for half := range scripts {
			if alone && half == r.IntN(2) {
				continue
			}
			add := func(list ...thing) { scripts[half] = append(scripts[half], list...) }
			value := value + []string{"l", "r"}[half]
			switch what {
			case 0, 1, 2:
				add(thing{ChangeInsert, "", to, value})
			case 3, 4:
				add(thing{ChangeDelete, from, "", ""})
			case 5, 6:
				if r.IntN(3) > 0 {
					value = ""
				}
				add(thing{ChangeUpdate, from, to, value})
			case 7:
				third := "t"
				add(thing{ChangeUpdate, from, third, ""}, thing{ChangeUpdate, to, from, value}, thing{ChangeUpdate, third, to, ""})
			case 8:
				if r.IntN(2) == 0 {
					add(thing{ChangeDelete, from, "", ""}, thing{ChangeInsert, "", from, value})
				}
			default:
				if r.IntN(2) == 0 {
					add(thing{ChangeUpdate, from, from, value})
				}
			}
		}
	}
	return scripts
}
