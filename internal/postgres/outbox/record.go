package outbox

import (
	"bytes"
	"errors"

	"strangler/migrate"
)

// errRecord is returned for text that PostgreSQL does not write for a row.
var errRecord = errors.New("a row is not written as PostgreSQL writes rows")

// parseRecord reads a row as PostgreSQL writes it as text (record_out): values
// between parentheses, separated by commas; nothing at all is NULL; in quotes,
// quotes and backslashes are doubled. It takes the text over: the values lie in
// it.
func parseRecord(text []byte) ([]migrate.Value, error) {
	if len(text) < 2 || text[0] != '(' {
		return nil, errRecord
	}
	values := make([]migrate.Value, 0, bytes.Count(text, []byte(","))+1)
	for rest := text[1:]; ; {
		var value []byte
		var err error
		if rest[0] == '"' {
			value, rest, err = quotedValue(rest[1:])
		} else {
			value, rest, err = bareValue(rest)
		}
		if err != nil {
			return nil, err
		}
		values = append(values, migrate.Value{Text: value})
		switch {
		case rest[0] == ')' && len(rest) == 1:
			return values, nil
		case rest[0] != ',' || len(rest) == 1:
			return nil, errRecord
		}
		rest = rest[1:]
	}
}

// bareValue reads up to a comma or the end. The rest is not empty.
func bareValue(text []byte) (value, rest []byte, err error) {
	end := bytes.IndexAny(text, `,()"\`)
	if end < 0 || text[end] != ',' && text[end] != ')' {
		return nil, nil, errRecord
	}
	if end == 0 {
		return nil, text, nil
	}
	return text[:end:end], text[end:], nil
}

// quotedValue reads up to the closing quote and undoubles what is doubled, in
// place. The rest is not empty.
func quotedValue(text []byte) (value, rest []byte, err error) {
	n := 0
	for i := 0; i < len(text)-1; i++ {
		c := text[i]
		if c == '"' || c == '\\' {
			if text[i+1] != c {
				if c == '\\' {
					return nil, nil, errRecord
				}
				return text[:n:n], text[i+1:], nil
			}
			i++
		}
		text[n] = c
		n++
	}
	return nil, nil, errRecord
}
