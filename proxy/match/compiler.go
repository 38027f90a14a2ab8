package match

import "sync"

// compiler compiles templates and their segments, each once while it is in use. Both
// mean the same wherever they are written, and nobody changes them, so all checks and
// tables of a process share one: of hundreds of documents one changes at a time.
type compiler struct {
	mu        sync.Mutex
	templates recent[*template]
	segments  recent[segment]
	compiled  int // templates
}

// compilations are all templates of the process that were used lately.
var compilations compiler

// lately is how many compiled templates, and segments, are kept at least; at most
// twice as many are.
const lately = 20_000

func (c *compiler) template(text string) (*template, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.templates.get(text, func() (*template, error) {
		c.compiled++
		return c.compile(text)
	})
}

// segment is called with c.mu held.
func (c *compiler) segment(text string) (segment, error) {
	return c.segments.get(text, func() (segment, error) { return compileSegment(text) })
}

// recent keeps values by text, those that were used lately.
type recent[T any] struct {
	young, old map[string]T // an old one that is used is young again
}

// get returns the value of a text, made if it is not there. What could not be made is
// not kept.
func (r *recent[T]) get(text string, compile func() (T, error)) (T, error) {
	if v, known := r.young[text]; known {
		return v, nil
	}
	v, known := r.old[text]
	if !known {
		var err error
		if v, err = compile(); err != nil {
			return v, err
		}
	}
	if r.young == nil || len(r.young) >= lately {
		r.young, r.old = map[string]T{}, r.young
	}
	r.young[text] = v
	return v, nil
}
