package proxy

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"strangler/capability"
)

// jwt is a JSON Web Token with these claims, and a signature that nobody checks.
func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestSubjects(t *testing.T) {
	request := func(headers ...string) *http.Request {
		r, _ := http.NewRequest("GET", "/", nil)
		r.RemoteAddr = "[2001:db8::1]:4711"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		return r
	}
	session := capability.Subject{Kind: capability.SubjectCookie, Name: "session"}
	user := capability.Subject{Kind: capability.SubjectHeader, Name: "X-User"}
	sub := capability.Subject{Kind: capability.SubjectClaim, Name: "sub"}
	for _, c := range []struct {
		name   string
		want   capability.Subject
		r      *http.Request
		value  string
		source capability.SubjectKind
	}{
		{"cookie", session, request("Cookie", "a=b; session=s1; c=d"), "s1", capability.SubjectCookie},
		{"second cookie header", session, request("Cookie", "a=b", "Cookie", "session=s2"), "s2", capability.SubjectCookie},
		{"quoted cookie", session, request("Cookie", `session="s3"`), "s3", capability.SubjectCookie},
		{"other cookie", session, request("Cookie", "xsession=s1"), "2001:db8::1", capability.SubjectAddress},
		{"header", user, request("X-User", "ann"), "ann", capability.SubjectHeader},
		{"no header", user, request("X-Forwarded-For", "6.6.6.6"), "2001:db8::1", capability.SubjectAddress},
		{"claim", sub, request("Authorization", "Bearer "+jwt(`{"sub":"ann","n":7}`)), "ann", capability.SubjectClaim},
		{"claim, a number", capability.Subject{Kind: capability.SubjectClaim, Name: "n"}, request("Authorization", "bearer "+jwt(`{"n":12345678901234567890}`)), "12345678901234567890", capability.SubjectClaim},
		{"claim, not there", sub, request("Authorization", "Bearer "+jwt(`{"n":7}`)), "2001:db8::1", capability.SubjectAddress},
		{"claim, a list", sub, request("Authorization", "Bearer "+jwt(`{"sub":["ann"]}`)), "2001:db8::1", capability.SubjectAddress},
		{"claim, no token", sub, request("Authorization", "Basic YTpi"), "2001:db8::1", capability.SubjectAddress},
		{"claim, two parts", sub, request("Authorization", "Bearer e30.e30"), "2001:db8::1", capability.SubjectAddress},
		{"claim, no JSON", sub, request("Authorization", "Bearer e30.AAAA.c2ln"), "2001:db8::1", capability.SubjectAddress},
		{"claim, too long", sub, request("Authorization", "Bearer "+jwt(`{"sub":"ann","x":"`+strings.Repeat("x", longestToken)+`"}`)), "2001:db8::1", capability.SubjectAddress},
		{"address", capability.Subject{Kind: capability.SubjectAddress}, request(), "2001:db8::1", capability.SubjectAddress},
		{"own cookie", capability.Subject{}, request("Cookie", mintedCookie+"=ABC"), "ABC", capability.SubjectMinted},
	} {
		if s := subjectOf(c.want, c.r, "2001:db8::1"); s.value != c.value || s.source != c.source || s.minted {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
	for _, bad := range []string{"", "a b", "x\ny", string(make([]byte, 65))} {
		s := subjectOf(capability.Subject{}, request("Cookie", mintedCookie+"="+bad), "2001:db8::1")
		if !s.minted || s.value == bad {
			t.Errorf("took %q for a subject of ours", bad)
		}
	}
}

func tableOf(t testing.TB, routes ...capability.Route) *table {
	t.Helper()
	table, err := build([]capability.Document{{Name: "c", Routes: routes}}, "", func(d capability.Document) *binding { return &binding{document: d} })
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// The share of subjects is the weight within three standard deviations, however
// many requests each of them sends; raising it moves nobody back.
func TestShareAndMonotony(t *testing.T) {
	const n = 20_000
	table := tableOf(t, capability.Route{Path: "/o"})
	b := table.bindings[0]
	on := map[string]bool{}
	for _, weight := range []capability.Weight{0, 1, 100, 1000, 2500, 5000, 9999, capability.Whole} {
		count := 0
		for i := range n {
			d := decision{route: table.routes[0], class: capability.Read, subject: subject{value: fmt.Sprint("subject-", i)}}
			d.assign(capability.Effective{Owner: capability.Legacy, Weight: weight})
			if d.side == capability.Extracted {
				count++
				on[d.subject.value] = true
			} else if on[d.subject.value] {
				t.Fatalf("%s moved back at %s", d.subject.value, weight)
			}
		}
		p := float64(weight) / float64(capability.Whole)
		if off := math.Abs(float64(count) - n*p); off > 3*math.Sqrt(n*p*(1-p)) {
			t.Errorf("at %s %d of %d subjects moved", weight, count, n)
		}
	}
	if b.salt() != "c" {
		t.Errorf("salt %q", b.salt())
	}
}

func TestTraceparent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if got := traceparent(http.Header{headerTraceparent: {good}}); got != good {
		t.Errorf("replaced a good one: %s", got)
	}
	for _, bad := range []string{"", "x", "ff" + good[2:], "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", good[:54]} {
		made := traceparent(http.Header{headerTraceparent: {bad}})
		if made == bad || !isTraceparent(made) {
			t.Errorf("%q became %q", bad, made)
		}
	}
	if id := requestID(http.Header{headerRequestID: {"evil\r\nid"}}); !isToken(id, 128) {
		t.Errorf("took %q", id)
	}
}

// Who is routed where costs no allocation.
func TestAssignAllocatesNothing(t *testing.T) {
	assign := assignment(t)
	if n := testing.AllocsPerRun(100, assign); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAssign(b *testing.B) {
	assign := assignment(b)
	b.ReportAllocs()
	for b.Loop() {
		assign()
	}
}

func assignment(t testing.TB) func() {
	table := tableOf(t, capability.Route{Path: "/o"})
	r, _ := http.NewRequest("GET", "/o", nil)
	r.Header.Set("Cookie", "theme=dark; session=7e0b1f9c8a")
	e := capability.Effective{Owner: capability.Legacy, Weight: 2500}
	want := capability.Subject{Kind: capability.SubjectCookie, Name: "session"}
	return func() {
		d := decision{route: table.routes[0], class: capability.Read, subject: subjectOf(want, r, "127.0.0.1")}
		d.assign(e)
	}
}
