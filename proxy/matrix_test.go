package proxy

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
)

// fault is a way in which an upstream fails, after it has got a request.
type fault struct {
	name   string
	refuse bool // no connection is taken; do is not called
	do     func(conn net.Conn, r *http.Request)
	// What has become of a request of each class, in the order of classes.
	want [8]outcomeOfFault
	// blames says that the breaker counts a failure.
	blames bool
	// blamesReads says that it does for reads alone.
	blamesReads bool
	// tries is how often a repeatable read that may be retried once arrives.
	tries int64
}

// outcomeOfFault is a status; broken is half a body of any status, other is 200 of
// the other side.
type outcomeOfFault int

const (
	broken outcomeOfFault = -1
	other  outcomeOfFault = -2
)

// classOfRequest is one column of the matrix.
type classOfRequest struct {
	name     string
	method   string
	path     string
	body     string
	fallback bool
	owner    capability.Side // extracted for writes, which follow the owner
	counted  bool            // a breaker stands in front
	repeats  bool            // may arrive again
}

var classes = [8]classOfRequest{
	{"read with fallback", "GET", "/api/orders/1", "", true, capability.Legacy, true, true},
	{"read without fallback", "GET", "/api/orders/1", "", false, capability.Legacy, true, true},
	{"read by POST", "POST", "/api/orders/search", "query", true, capability.Legacy, true, false},
	{"write with body", "POST", "/api/orders/1", "body", true, capability.Extracted, true, false},
	{"write without body", "DELETE", "/api/orders/1", "", true, capability.Extracted, true, false},
	{"GET that writes", "GET", "/api/orders/claim", "", true, capability.Extracted, true, false},
	{"unclaimed read", "GET", "/other", "", true, capability.Legacy, false, false},
	{"unclaimed write", "POST", "/other", "body", true, capability.Legacy, false, false},
}

const (
	timeoutOfMatrix = 300 * time.Millisecond
	pauseOfMatrix   = 50 * time.Millisecond
)

// stall waits until the proxy has had enough.
func stall(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// trickle writes a byte at a time.
func trickle(conn net.Conn, text string) {
	tick := time.NewTicker(pauseOfMatrix)
	defer tick.Stop()
	for i := range len(text) {
		if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
			return
		}
		<-tick.C
	}
}

// utter writes what it can.
func utter(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

const okHead = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"

var faults = []fault{
	{name: "refuses", refuse: true, want: [8]outcomeOfFault{other, 503, other, 503, 503, 503, 503, 503}, blames: true},
	{name: "accepts and stalls", do: func(c net.Conn, _ *http.Request) { stall(c) },
		want: [8]outcomeOfFault{504, 504, 504, 504, 504, 504, 504, 504}, blames: true, tries: 1},
	{name: "stalls in mid-header", do: func(c net.Conn, _ *http.Request) { utter(c, okHead[:30]); stall(c) },
		want: [8]outcomeOfFault{504, 504, 504, 504, 504, 504, 504, 504}, blames: true, tries: 1},
	// The proxy cuts it off. A write's answer may just be long.
	{name: "stalls in mid-body", do: func(c net.Conn, _ *http.Request) { utter(c, okHead+"half"); stall(c) },
		want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blamesReads: true, tries: 1},
	{name: "resets after the request", do: func(c net.Conn, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); reset(c) },
		want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
	{name: "closes after the request", do: func(_ net.Conn, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
	{name: "resets in mid-header", do: func(c net.Conn, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); utter(c, okHead[:30]); reset(c) },
		want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
	{name: "resets in mid-body", do: func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		utter(c, okHead+"half")
		reset(c)
	},
		want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blames: true, tries: 1},
	{name: "closes in mid-body", do: half,
		want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blames: true, tries: 1},
	{name: "closes in mid-chunk", do: func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		utter(c, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf")
	},
		want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blames: true, tries: 1},
	{name: "answers 500 and breaks off", do: func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		utter(c, "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf")
	},
		want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blames: true, tries: 1},
	// Many servers end a stream by hanging up.
	{name: "breaks an event stream off", do: func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		utter(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf")
	},
		want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, tries: 1},
	{name: "answers garbage", do: func(c net.Conn, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); utter(c, "SSH-2.0-x\r\n\r\n") },
		want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
	// net/http's server panics over such a status.
	{name: "answers garbage for a status", do: func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		utter(c, "HTTP/1.1 099 x\r\nContent-Length: 2\r\n\r\nno")
	}, want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
	{name: "answers 000", do: func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		utter(c, "HTTP/1.1 000 x\r\nContent-Length: 2\r\n\r\nno")
	}, want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
	{name: "answers early and closes", do: func(c net.Conn, r *http.Request) {
		utter(c, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, r.Body) // else the kernel resets, and may take the answer along
	}, want: [8]outcomeOfFault{403, 403, 403, 403, 403, 403, 403, 403}, tries: 1},
	{name: "answers 503", do: func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		utter(c, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
	}, want: [8]outcomeOfFault{other, 503, 503, 503, 503, 503, 503, 503}, blames: true, tries: 1},
	{name: "trickles the header", do: func(c net.Conn, _ *http.Request) { trickle(c, okHead+"0123456789") },
		want: [8]outcomeOfFault{504, 504, 504, 504, 504, 504, 504, 504}, blames: true, tries: 1},
	// A read's pauses are bounded, a write as a whole.
	{name: "trickles the body", do: func(c net.Conn, _ *http.Request) { utter(c, okHead); trickle(c, "0123456789") },
		want: [8]outcomeOfFault{200, 200, 200, broken, broken, broken, 200, broken}, tries: 1},
}

// Every fault against every class of request: the right answer, a write that
// arrived once at most, one word to the breaker, and nothing left behind.
func TestFaultMatrix(t *testing.T) {
	for _, f := range faults {
		for i, class := range classes {
			for _, front := range fronts[:2] {
				t.Run(f.name+"/"+class.name+"/"+front.name, func(t *testing.T) {
					t.Parallel()
					for _, kind := range kindsOfLeg {
						var arrived atomic.Int64
						failing := nobody(t)
						if !f.refuse {
							failing = raw(t, func(conn net.Conn, r *http.Request) {
								arrived.Add(1)
								f.do(conn, r)
							})
						}
						f.against(t, class, pairing{front, backs[0], kind.make}, failing, &arrived, f.want[i])
					}
				})
			}
		}
	}
}

// against sends one request where the upstream that fails is one of its sides, or the
// only one.
func (f fault) against(t *testing.T, class classOfRequest, c pairing, failing string, arrived *atomic.Int64, want outcomeOfFault) {
	t.Helper()
	well := c.back.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") }))
	r := c.before(t, nil, failing, func(o *Options, d *capability.Document) {
		o.LegacyTimeout = timeoutOfMatrix
		if class.counted {
			o.Legacy.Endpoints = []string{well.URL}
		}
		d.Routes = []capability.Route{{Path: "/api/orders/**", Line: 3}, {Path: "/api/orders/search", Class: capability.Read, Line: 4},
			{Path: "/api/orders/claim", Class: capability.Write, Line: 5}}
		d.Resilience.Timeout, d.Resilience.Retries, d.Resilience.Fallback = timeoutOfMatrix, 1, class.fallback
		d.Resilience.Breaker = capability.Breaker{Ratio: 1, Requests: 100, Window: time.Minute, OpenFor: time.Second, Trials: 1}
	})
	r.set(state(2, class.owner, capability.Whole))
	var body io.Reader
	if class.body != "" {
		body = strings.NewReader(class.body)
	}
	a, _ := r.send(r.request(class.method, class.path, body))
	f.check(t, want, a, r.log)
	r.settled()
	f.counted(t, class, want, r)
	tries := f.tries
	if !class.repeats {
		tries = min(tries, 1)
	}
	if n := arrived.Load(); n != tries {
		t.Errorf("the request arrived %d times, want %d", n, tries)
	}
}

func (f fault) check(t *testing.T, want outcomeOfFault, a answer, log *syncBuffer) {
	t.Helper()
	ok := a.err == nil && a.status == int(want)
	switch want {
	case broken:
		ok = a.err != nil
	case other:
		ok = a.err == nil && a.status == 200 && a.body == "other" && a.header.Get(headerSide) == "legacy"
	case 200:
		ok = ok && a.body == "0123456789"
	}
	if !ok {
		t.Errorf("%d %v %q, want %d\n%s", a.status, a.err, a.body, want, log)
	}
	if untouched := strings.Contains(a.body, "touched nothing"); untouched && !f.refuse || f.refuse && want == 503 && !untouched {
		t.Errorf("said %s", a.body)
	}
	if f.refuse && want == 503 && a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
}

// counted checks that each breaker heard once of each exchange with its side.
func (f fault) counted(t *testing.T, class classOfRequest, want outcomeOfFault, r *rig) {
	t.Helper()
	wanted := map[capability.Side][2]int{}
	if class.counted {
		wanted[capability.Extracted] = [2]int{1, 0}
		if f.blames || f.blamesReads && strings.HasPrefix(class.name, "read") {
			wanted[capability.Extracted] = [2]int{1, 1}
		}
	}
	if want == other {
		wanted[capability.Legacy] = [2]int{1, 0}
	}
	for _, b := range r.Breakers() {
		if have := [2]int{b.Requests, b.Failures}; have != wanted[b.Side] {
			t.Errorf("breaker of %s counted %v, want %v", b.Side, have, wanted[b.Side])
		}
	}
}
