package match

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"strangler/capability"
)

// FuzzTemplate holds one template against gorilla/mux, whose syntax it speaks:
// both must agree on whether it matches, for every path in normal form.
func FuzzTemplate(f *testing.F) {
	f.Add("/api/orders/{id:[0-9]+}", "/api/orders/17")
	f.Add("/a/{x}/b-{y:[a-z]{2}}.c", "/a/1/b-xy.c")
	f.Add("/a/{rest:.*}", "/a/b/c")
	f.Add("/{a:x|y/z}", "/y/z")
	f.Add("/{a:(?i)k+}/", "/K/")
	f.Add("/{a:[^x]+}/b", "/1/2/b")
	f.Add("/{a:.+}{b:[0-9]*}/x", "/1/2/x")
	f.Add("/{a:k|kk}-b", "/kk-b")
	f.Add("/100%25/{x}", "/100%25/%2f")
	f.Add("/{x:\\ba}b/{y:$}", "/ab/")
	f.Add("/{x:[0-9]*}/**", "//a/")
	f.Fuzz(func(t *testing.T, text, in string) {
		path, err := Normalise(in)
		if err != nil {
			return
		}
		x, err := Compile([]capability.Route{{Path: text}})
		if err != nil {
			return
		}
		_, got := x.Find(&Request{Method: "GET", Path: path})
		if want := muxMatches(text, path.Match); got != want {
			t.Fatalf("%q on %q: we say %v, mux says %v", text, path.Match, got, want)
		}
		if got && path.Odd == 0 {
			if problems := Check([]capability.Document{{Routes: []capability.Route{{Path: text}, {Path: text}}}}); len(problems) != 1 {
				t.Fatalf("%q matches %q but does not tie with itself: %v", text, path.Match, problems)
			}
		}
	})
}

func cutSubtree(text string) (prefix string, subtree bool) { return strings.CutSuffix(text, "/**") }

// muxMatches asks gorilla/mux. A subtree is its prefix, matched by the beginning of
// the path up to the end or any slash.
func muxMatches(text, path string) bool {
	ask := func(text, path string) bool {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: path}}
		return mux.NewRouter().NewRoute().Path(text).Match(r, &mux.RouteMatch{})
	}
	prefix, subtree := cutSubtree(text)
	if !subtree {
		return ask(text, path)
	}
	for end := 0; end <= len(path); end++ {
		if end == len(path) || path[end] == '/' {
			if prefix == "" && end == 0 || prefix != "" && ask(prefix, path[:end]) {
				return true
			}
		}
	}
	return false
}

// FuzzMatch holds the tree against trying all routes in turn, on tables and
// requests that are made of few words, so that routes meet.
func FuzzMatch(f *testing.F) {
	for _, seed := range []string{
		"\x00", "012345678901234567890123456789", "abcabcabcabcabcabcabcabcabc", "\x01\x02\x03\x09\x05\x02\x01\x0a\x05\x03\x01\x02",
		"\x03\x05\x03\x01\x03\x06\x03\x02\x03\x05\x03\x06", "zyxwvutsrqponmlkjihgfedcba", "\xff\xfe\xfd\xfc\xfb\xfa\x10\x20\x30\x40\x50",
	} {
		f.Add([]byte(seed), []byte(seed[len(seed)/2:]))
		f.Add([]byte(strings.Repeat(seed, 5)), []byte("\x01"+seed))
	}
	f.Fuzz(func(t *testing.T, table, asked []byte) { treeAgainstAll(t, table, asked) })
}

// TestTreeAgainstAll is FuzzMatch by chance, the same each time.
func TestTreeAgainstAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(random.Uint32())
		}
		return out
	}
	claimed, sound := 0, 0
	for range 600 {
		c, s := treeAgainstAll(t, draw(20+random.IntN(80)), draw(100))
		claimed += c
		sound += s
	}
	if claimed < 800 || sound < 100 {
		t.Errorf("only %d requests were claimed, %d of them by tables without a tie: the words do not meet", claimed, sound)
	}
}

// treeAgainstAll returns how many requests were claimed, and how many of them by
// a table that Check passed.
func treeAgainstAll(t *testing.T, table, asked []byte) (claimed, sound int) {
	routes := (&words{bytes: table}).routes()
	x, err := Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	checked := len(Check([]capability.Document{{Name: "c", Routes: routes}})) == 0
	compiled := compiledOf(t, routes)
	w := &words{bytes: asked}
	for range 8 {
		q := w.request(t)
		route, ok := x.Find(q)
		want := naive(compiled, q)
		if ok != (len(want) > 0) || ok && route != want[0] {
			t.Fatalf("%s\n%+v: the tree says %d, %v; all in turn %v", show(routes), q, route, ok, want)
		}
		if checked && q.Path.Odd == 0 && len(want) > 1 {
			t.Fatalf("%s\n%+v: %v have equal right, and Check says nothing", show(routes), q, want)
		}
		if ok {
			claimed++
		}
		if ok && checked {
			sound++
		}
	}
	return claimed, sound
}

// words draws from short lists by the bytes it is given.
type words struct{ bytes []byte }

func (w *words) pick(list ...string) string {
	if len(w.bytes) == 0 {
		return list[0]
	}
	c := w.bytes[0]
	w.bytes = w.bytes[1:]
	return list[int(c)%len(list)]
}

func (w *words) routes() (out []capability.Route) {
	for range 12 {
		if len(w.bytes) == 0 {
			break
		}
		r := capability.Route{Path: w.template(), Host: w.pick("", "", "", "a.org", "b.org", "*.org", "*.a.org")}
		if methods := w.pick("", "", "GET", "POST", "GET POST", "HEAD"); methods != "" {
			r.Methods = strings.Fields(methods)
		}
		for range len(w.pick("", "", "", "1", "12")) {
			c := capability.Condition{Name: w.pick("X-A", "x-b"), Value: w.pick("", "1", "2")}
			if w.pick("h", "q") == "h" {
				r.Headers = append(r.Headers, c)
			} else {
				r.Query = append(r.Query, c)
			}
		}
		out = append(out, r)
	}
	return out
}

func (w *words) template() string {
	var b strings.Builder
	for range len(w.pick("1", "12", "123", "")) {
		b.WriteString("/" + w.pick("a", "b", "1", "{x}", "{x}", "{x:[0-9]+}", "{x:[a-z1]+}", "a{x}", "{x}b", "{x:.*}", "{x:a|b/c}", "{x:(?i)A}", "a%2F{x}", "{x:.+}b", "{x:[0-9]*}"))
	}
	if end := w.pick("", "", "/**", "/"); b.Len() == 0 || end == "/**" || end == "/" {
		b.WriteString(end)
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

func (w *words) request(t *testing.T) *Request {
	var path strings.Builder
	for range len(w.pick("1", "12", "123", "1234")) {
		path.WriteString("/" + w.pick("a", "b", "1", "ab", "c", "a%2fb", "..", "12", "A", ""))
	}
	normal, err := Normalise(path.String())
	if err != nil {
		t.Fatal(err)
	}
	q := &Request{Method: w.pick("GET", "POST", "HEAD", "PUT"), Path: normal, Header: http.Header{},
		Host: w.pick("", "a.org", "B.org:80", "x.a.org.", "other.com")}
	for range len(w.pick("", "1", "12")) {
		q.Header.Add(w.pick("X-A", "X-B"), w.pick("", "1", "2"))
	}
	q.RawQuery = w.pick("", "X-A=1", "x-b", "X-A=2&x-b=1", "X%2dA=%31&X-A=2", "X-A=%zz", "x-b=1;X-A=1")
	return q
}

// compiled is a route as a reader of the documentation would compile it.
type compiled struct {
	*claim
	route capability.Route
	whole *regexp.Regexp
}

func compiledOf(t *testing.T, routes []capability.Route) (out []compiled) {
	c := &compiler{}
	for i, r := range routes {
		cl, faults := c.claim(i, r)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		expr := "^"
		if prefix, subtree := cutSubtree(r.Path); subtree || prefix == r.Path {
			if prefix != "" {
				of, err := mux.NewRouter().NewRoute().Path(prefix).GetPathRegexp()
				if err != nil {
					t.Fatal(err)
				}
				expr = strings.TrimSuffix(of, "$")
			}
			if subtree {
				expr += "(?:/(?s:.)*)?"
			}
		}
		out = append(out, compiled{cl, r, regexp.MustCompile(expr + "$")})
	}
	return out
}

// naive returns the most specific routes that claim a request: one, unless some
// tie.
func naive(routes []compiled, q *Request) (best []int) {
	var holder *claim
	for i, r := range routes {
		if !r.claims(q) {
			continue
		}
		c := -1
		if holder != nil {
			c = cmp.Or(r.template.compare(holder.template), strings.Compare(rank(routes[best[0]].route), rank(r.route)))
		}
		switch {
		case c < 0:
			holder, best = r.claim, []int{i}
		case c == 0:
			best = append(best, i)
		}
	}
	return best
}

// rank grows with how specific a route is but for its path.
func rank(r capability.Route) string {
	host := "exact"
	if r.Host == "" {
		host = "any"
	} else if r.Host[0] == '*' {
		host = "by label"
	}
	return fmt.Sprint(host, 10+len(r.Headers)+len(r.Query))
}

func (r compiled) claims(q *Request) bool {
	host := strings.ToLower(q.Host)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(host, ".")
	if wild, is := strings.CutPrefix(r.route.Host, "*"); is {
		label, ok := strings.CutSuffix(host, wild)
		if !ok || label == "" || strings.Contains(label, ".") {
			return false
		}
	} else if r.route.Host != "" && r.route.Host != host {
		return false
	}
	methods := r.route.Methods
	if q.Method == "HEAD" && slices.Contains(methods, "GET") {
		methods = nil
	}
	if len(methods) > 0 && !slices.Contains(methods, q.Method) {
		return false
	}
	query := url.Values{}
	for _, pair := range strings.Split(q.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err == nil && err2 == nil {
			query.Add(name, value)
		}
	}
	meets := func(values []string, want string) bool {
		return len(values) > 0 && (want == "" || slices.Contains(values, want))
	}
	for _, c := range r.route.Headers {
		if !meets(q.Header.Values(c.Name), c.Value) {
			return false
		}
	}
	for _, c := range r.route.Query {
		if !meets(query[c.Name], c.Value) {
			return false
		}
	}
	return r.whole.MatchString(q.Path.Match)
}

func show(routes []capability.Route) string {
	var b strings.Builder
	for i, r := range routes {
		fmt.Fprintf(&b, "%d: %v %s%s headers %v query %v\n", i, r.Methods, r.Host, r.Path, r.Headers, r.Query)
	}
	return b.String()
}
