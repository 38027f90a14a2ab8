package proxy

import (
	"net/http"
	"strings"
	"testing"

	"strangler/capability"
)

// What is asked about is read as a server would have read it off the connection.
func TestExplainReadsARequest(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), nil, nil, func(_ *Options, d *capability.Document) {
		d.Routes = []capability.Route{{Path: "/api/orders/**", Host: "shop.example"}}
		d.Traffic.Subject = capability.Subject{Kind: capability.SubjectAddress}
	})
	host := http.Header{"host": {"shop.example"}}
	for _, q := range []Request{
		{Method: "GET", URL: "http://shop.example/api/orders/1", Address: "192.0.2.7:99"},
		{Method: "GET", URL: "/api/orders/1#top", Address: "192.0.2.7", Headers: host},
		{Method: "GET", URL: "//api/orders/1", Address: "192.0.2.7:0", Headers: host},
		{Method: "GET", URL: "http://elsewhere.example/api/orders/1", Address: "192.0.2.7:99", Headers: host},
	} {
		if d, err := s.Explain(q); err != nil || d.Capability != "orders" || d.Subject != "192.0.2.7" {
			t.Errorf("%+v: %+v, %v", q, d, err)
		}
	}
	if d, err := s.Explain(Request{Method: "GET", URL: "/", Address: "2001:db8::1"}); err != nil || d.Side != capability.Legacy {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := s.Explain(Request{Method: "GET", URL: "http://shop.example"}); err != nil || d.Side != capability.Legacy {
		t.Errorf("%+v, %v", d, err)
	}
	for want, q := range map[string]Request{
		"is no address of a client: write": {Method: "GET", URL: "/", Address: "nonsense"},
		"is no method: write":              {Method: "G(T", URL: "/"},
		"is no URL: write":                 {Method: "GET", URL: "api/orders"},
		"invalid URL escape":               {Method: "GET", URL: "/%zz"},
		"write a space as %20":             {Method: "GET", URL: "/api/orders/a b"},
		"a space as %20":                   {Method: "GET", URL: "http://shop.example/api/orders?a b"},
		"is no name of a header: write":    {Method: "GET", URL: "/", Headers: http.Header{"a b": {"c"}}},
	} {
		if d, err := s.Explain(q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %+v, %v; want %q", q, d, err, want)
		}
	}
}

// What is asked about is read as a server reads the target of a request, where a #
// begins nothing and two slashes are no host.
func TestExplainReadsATarget(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), nil, nil, func(_ *Options, d *capability.Document) {
		d.Routes = []capability.Route{{Path: "/api/orders/{id:[0-9]+}"}}
	})
	for target, claimed := range map[string]bool{"/api/orders/1": true, "//api/orders/1": true, "//api//orders/1": true, "/api/orders/1#f": false, "/api/orders/1?a#f": true} {
		d, err := s.Explain(Request{Method: "GET", URL: target})
		if err != nil || (d.Capability == "orders") != claimed {
			t.Errorf("%s: %+v, %v", target, d, err)
		}
	}
}
