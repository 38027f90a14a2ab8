package match

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/gorilla/mux"

	"strangler/capability"
)

// mix is one shape that many routes may have, and a request for the one in the
// middle.
type mix struct {
	name  string
	route func(i int) capability.Route
	host  func(i int) string
	path  func(i int) string
}

func mixes() []mix {
	path := func(format string) func(int) capability.Route {
		return func(i int) capability.Route { return capability.Route{Path: fmt.Sprintf(format, i)} }
	}
	text := func(format string) func(int) string { return func(i int) string { return fmt.Sprintf(format, i) } }
	none := func(int) string { return "shop.example.com" }
	modules := []string{"/api/module%d", "/api/module%d/{id:[0-9]+}", "/api/module%d/{id:[0-9]+}/lines/{line}", "/api/module%d/pages/**"}
	return []mix{
		{"modules", func(i int) capability.Route { return path(modules[i%4])(i / 4) }, none,
			func(i int) string { return fmt.Sprintf("/api/module%d/4711/lines/3", i/4) }},
		{"behind a variable", path("/api/{tenant}/x%d"), none, text("/api/acme/x%d")},
		{"first literal shared", path("/api/{id:[0-9]+}/x%d/{rest}"), none, text("/api/4711/x%d/y")},
		{"hosts", func(i int) capability.Route {
			return capability.Route{Path: "/api/{id}", Host: fmt.Sprintf("h%d.example.com", i)}
		}, text("h%d.example.com:80"), text("/api/%d")},
		{"prefixes", path("/api/kind%d-{id}"), none, text("/api/kind%d-4711")},
		{"suffixes", path("/api/{name}.x%d"), none, text("/api/picture.x%d")},
		{"spanning", path("/api/{rest:.+}/x%d"), none, text("/api/a/b/x%d")},
	}
}

func (m mix) routes(n int) []capability.Route {
	out := make([]capability.Route, n)
	for i := range out {
		out[i] = m.route(i)
	}
	return out
}

func (m mix) request(i int) (*Request, *http.Request) {
	plain := &http.Request{Method: "GET", Host: m.host(i), URL: &url.URL{Path: m.path(i)}}
	return &Request{Method: "GET", Host: m.host(i)}, plain
}

// middle is a route with variables in every mix.
func middle(n int) int { return n/8*4 + 2 }

func BenchmarkMatch(b *testing.B) {
	for _, m := range mixes() {
		for _, n := range []int{20, 200, 2000} {
			at := middle(n)
			x := indexOf(b, m.routes(n)...)
			q, plain := m.request(at)
			b.Run(fmt.Sprintf("%s/routes=%d", m.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if q.Path, err = Normalise(plain.URL.Path); err != nil {
						b.Fatal(err)
					}
					if got, ok := x.Find(q); !ok || got != at {
						b.Fatalf("%+v matched %d, %v", q, got, ok)
					}
				}
			})
		}
	}
}

// BenchmarkMux is gorilla/mux alone with the same routes and requests.
func BenchmarkMux(b *testing.B) {
	for _, m := range mixes() {
		for _, n := range []int{20, 200, 2000} {
			router := mux.NewRouter()
			for _, r := range m.routes(n) {
				added := router.NewRoute().Handler(http.NotFoundHandler())
				if r.Host != "" {
					added.Host(r.Host)
				}
				if prefix, subtree := cutSubtree(r.Path); subtree {
					added.PathPrefix(prefix)
				} else {
					added.Path(r.Path)
				}
			}
			_, plain := m.request(middle(n))
			b.Run(fmt.Sprintf("%s/routes=%d", m.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					var found mux.RouteMatch
					if !router.Match(plain, &found) {
						b.Fatal("no match")
					}
				}
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, m := range mixes() {
		routes := m.routes(2000)
		b.Run(m.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Compile(routes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, m := range mixes() {
		docs := []capability.Document{doc("a", m.routes(2000)...)}
		b.Run(m.name, func(b *testing.B) {
			for b.Loop() {
				if problems := Check(docs); len(problems) > 0 {
					b.Fatal(problems)
				}
			}
		})
	}
}
