package outbox

import (
	"bytes"
	"strings"
	"testing"

	"strangler/migrate"
)

// written is record_out: how PostgreSQL writes a row.
func written(values []migrate.Value) []byte {
	fields := make([]string, len(values))
	for i, v := range values {
		text := string(v.Text)
		switch {
		case v.Text == nil:
		case text == "" || strings.ContainsAny(text, "\"\\(), \t\n\v\f\r"):
			fields[i] = `"` + strings.NewReplacer(`"`, `""`, `\`, `\\`).Replace(text) + `"`
		default:
			fields[i] = text
		}
	}
	return []byte("(" + strings.Join(fields, ",") + ")")
}

func same(a, b []migrate.Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if (a[i].Text == nil) != (b[i].Text == nil) || !bytes.Equal(a[i].Text, b[i].Text) {
			return false
		}
	}
	return true
}

func TestParseRecord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`()`:                      {"NULL"},
		`(,)`:                     {"NULL", "NULL"},
		`("")`:                    {""},
		`(1,"",,x)`:               {"1", "", "NULL", "x"},
		`("a ""b"" \\c","(1,2)")`: {`a "b" \c`, "(1,2)"},
		`("""(1,""""x"""")""")`:   {`"(1,""x"")"`},
		"(\"two\nlines\",ü€𝄞)":    {"two\nlines", "ü€𝄞"},
		`("\\","""",",")`:         {`\`, `"`, ","},
	} {
		got, err := parseRecord([]byte(text))
		values := make([]migrate.Value, len(want))
		for i, w := range want {
			if w != "NULL" {
				values[i].Text = []byte(w)
			}
		}
		if err != nil || !same(got, values) {
			t.Errorf("%s is %s, %v", text, written(got), err)
		}
	}
	for _, text := range []string{``, `(`, `)`, `(1`, `(1,`, `(1)x`, `1,2)`, `("1)`, `("1"2)`, `(1"2")`, `("\1")`, `("a\")`, `(1\,2)`, `((1))`, `("`, `(""`, `(,"`, `(1,2),`} {
		if got, err := parseRecord([]byte(text)); err == nil {
			t.Errorf("%s was taken for %s", text, written(got))
		}
	}
}

// FuzzParseRecord: whatever is taken for a row is written as the same text, and
// whatever values are written are read again.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`(1,"",,"a ""b"" \\c")`), "a", "b")
	f.Fuzz(func(t *testing.T, text []byte, a, b string) {
		if values, err := parseRecord(bytes.Clone(text)); err == nil {
			if again, err := parseRecord(written(values)); err != nil || !same(again, values) {
				t.Errorf("%q was read as %q, then as %q, %v", text, written(values), written(again), err)
			}
		}
		values := []migrate.Value{{Text: []byte(a)}, {}, {Text: []byte(b)}}
		if got, err := parseRecord(written(values)); err != nil || !same(got, values) {
			t.Errorf("%q was read as %q, %v", written(values), written(got), err)
		}
	})
}
