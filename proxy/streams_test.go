package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/pool"
)

const (
	goodbye    = "\x88\x02\x03\xe9" // a close frame to a client, status 1001
	liveSocket = "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n" + websocket + "Sec-WebSocket-Key: x\r\n\r\n"
	liveEvents = " /api/orders/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
)

// greets says hello to who has opened a WebSocket, and goes when its peer does, as polite servers do.
func greets(conn net.Conn, r *bufio.Reader) {
	_, _ = io.WriteString(conn, "\x81\x05hello")
	silent(conn, r)
}

// live serves WebSockets and event streams; ended hears of every stream that has ended.
func live(ended chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			changing(websocket+"Sec-WebSocket-Accept: x\r\n", greets)(w, r)
			ended <- "socket"
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: x\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		ended <- "events"
	}
}

// living is a proxy with both sides alive to streams, and the rule.
func living(t *testing.T, rule capability.Streams, grace time.Duration) (s *served, ended chan string) {
	t.Helper()
	ended = make(chan string, 64)
	s = serve(t, state(1, capability.Legacy, 0), live(ended), live(make(chan string, 64)), func(o *Options, d *capability.Document) {
		o.Hold.Grace, d.Resilience.Streams = grace, rule
	})
	return s, ended
}

// socket opens a WebSocket, and hears its greeting.
func (s *served) socket() (*net.TCPConn, *bufio.Reader, reply) {
	s.t.Helper()
	conn, r, res := dialled(s.t, s.url, liveSocket)
	if res.StatusCode != 101 {
		s.t.Fatal(res)
	}
	hears(s.t, r, "\x81\x05hello")
	return conn, r, res
}

// events opens an event stream, and hears its first event.
func (s *served) events(method string) reply {
	s.t.Helper()
	_, _, res := dialled(s.t, s.url, method+liveEvents)
	if res.StatusCode != 200 {
		s.t.Fatal(res)
	}
	hears(s.t, res.Body, "data: x\n\n")
	return res
}

func hears(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("heard %q, %v, want %q", b, err, want)
	}
}

// returning sends a request that has to wait for the release, and returns the answer.
func (s *served) returning(raw string) <-chan reply {
	s.t.Helper()
	before, _ := s.serving("orders")
	conn := connect(s.t, s.url)
	if _, err := io.WriteString(conn, raw); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "who comes back waits", func() bool { now, _ := s.serving("orders"); return now.Held == before.Held+1 })
	out := make(chan reply, 1)
	go func() {
		res, err := nextReply(bufio.NewReader(conn))
		if err != nil {
			s.t.Error(err)
		}
		out <- res
	}()
	return out
}

// switched waits until nothing is in the way of the gate, as the controller does, then
// gives the capability to the other side.
func (s *served) switched(revision uint64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), longest)
	defer cancel()
	if now := s.Serving(ctx, "orders", revision, true); !now.Holding || now.Writes != 0 || len(now.Routes) != 0 {
		s.t.Fatalf("in the way of the gate: %+v", now)
	}
	s.set(state(revision+1, capability.Extracted, capability.Whole))
}

// reasons are those of the access log, of every exchange that is over.
func (s *served) reasons(status float64) (out []any) {
	for _, line := range s.lines() {
		if line["status"] == status {
			out = append(out, line["reason"])
		}
	}
	return out
}

// A WebSocket is told as the hold begins, and is a write in flight, by its route, until
// both of its sides have gone. A client that comes back waits, and meets the new owner.
func TestDrainTellsWebSockets(t *testing.T) {
	s, ended := living(t, "", longest) // the rule of who says nothing
	conn, r, _ := s.socket()
	if now, _ := s.serving("orders"); now.Writes != 0 {
		t.Errorf("before the hold: %+v", now)
	}
	s.set(switching(state(2, capability.Legacy, 0)))
	if now, _ := s.serving("orders"); now.Writes != 1 || now.Routes["GET /api/orders/**"] != 1 {
		t.Errorf("as the hold begins: %+v", now)
	}
	if said, err := io.ReadAll(r); err != nil || string(said) != goodbye {
		t.Errorf("the client heard %q, %v", said, err)
	}
	<-ended
	back := s.returning(liveSocket)
	if now, _ := s.serving("orders"); now.Writes != 1 {
		t.Errorf("its client is still there: %+v", now)
	}
	conn.Close()
	s.switched(2)
	if res := <-back; res.StatusCode != 101 || res.Header.Get(headerSide) != "extracted" {
		t.Errorf("who came back: %v", res)
	}
	eventually(t, "it is written down", func() bool { return len(s.lines()) > 0 })
	if got := s.lines()[0]; got["end"] != "drained" {
		t.Errorf("%v", got)
	}
}

// Whoever does not go by himself is named, and closed with the grace: the switch needs
// not be undone for him.
func TestDrainClosesWhoDoesNotGo(t *testing.T) {
	for name, legacy := range map[string]http.HandlerFunc{
		// Of a protocol that nobody knows, which cannot be told.
		"unknown": echo,
		// The server of a WebSocket does not go, and its client does not either.
		"socket": changing(websocket+"Sec-WebSocket-Accept: x\r\n", func(conn net.Conn, _ *bufio.Reader) {
			_, _ = conn.Read(make([]byte, 1)) // the beginning of its close frame
			for {
				if _, err := conn.Write([]byte("\x81\x00")); err != nil {
					return
				}
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, state(1, capability.Legacy, 0), legacy, nil, func(o *Options, _ *capability.Document) { o.Hold.Grace = 300 * time.Millisecond })
			conn, _, res := dialled(t, s.url, liveSocket)
			if res.StatusCode != 101 {
				t.Fatal(res)
			}
			began := time.Now()
			s.set(switching(state(2, capability.Legacy, 0)))
			if now, _ := s.serving("orders"); now.Routes["GET /api/orders/**"] != 1 && time.Since(began) < 200*time.Millisecond {
				t.Errorf("it is not named: %+v", now)
			}
			s.switched(2)
			if took := time.Since(began); took < 300*time.Millisecond {
				t.Errorf("its grace was %v", took)
			}
			_, _ = io.Copy(io.Discard, conn)
			if got := s.closed(); got["end"] != "drained" {
				t.Errorf("%v", got)
			}
		})
	}
}

// An event stream cannot be told: it has its grace, and breaks off. That of a read keeps no
// switch waiting, that of a write does. A client that comes back meets the new owner.
func TestDrainEndsEventStreams(t *testing.T) {
	for method, counted := range map[string]int{"GET": 0, "POST": 1} {
		t.Run(method, func(t *testing.T) {
			s, ended := living(t, capability.StreamsDrain, 300*time.Millisecond)
			res := s.events(method)
			began := time.Now()
			s.set(switching(state(2, capability.Legacy, 0)))
			if now, _ := s.serving("orders"); now.Writes != counted && time.Since(began) < 200*time.Millisecond {
				t.Errorf("as the hold begins: %+v", now)
			}
			back := s.returning(method + liveEvents)
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Error("a stream that was cut looks whole")
			}
			<-ended
			if took := time.Since(began); took < 300*time.Millisecond {
				t.Errorf("its grace was %v", took)
			}
			s.switched(2)
			if res := <-back; res.StatusCode != 200 || res.Header.Get(headerSide) != "extracted" {
				t.Errorf("who came back: %v", res)
			}
			eventually(t, "it is written down", func() bool { return len(s.reasons(200)) == 1 })
			if got := s.reasons(200); got[0] != string(ReasonMoved) {
				t.Errorf("%v", got)
			}
			if b := s.Breakers()[0]; b.Failures != 0 {
				t.Errorf("the side is blamed: %+v", b)
			}
		})
	}
}

// A stream of gRPC ends with a status by which its client tries again, and no endpoint or
// breaker is blamed.
func TestDrainEndsStreamsOfGRPC(t *testing.T) {
	for rule, grace := range map[capability.Streams]time.Duration{capability.StreamsDrain: 20 * time.Millisecond, capability.StreamsClose: longest} {
		on, ended := make(chan struct{}), make(chan error, 1)
		r := pairing{fronts[1], backs[1], pool.Standard}.start(t, pieces(on, ended), func(o *Options, d *capability.Document) {
			o.Hold.Grace, d.Resilience.Streams = grace, rule
		})
		res, err := r.client.Do(r.call("/api/orders/ab"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		eventually(t, "it is taken for a stream", r.released)
		if problems := r.Update([]capability.Document{r.doc}, map[string]capability.Effective{"orders": switching(state(2, capability.Legacy, 0))}); len(problems) > 0 {
			t.Fatal(problems)
		}
		if now := r.Serving(t.Context(), "orders", 2, true); !now.Holding || now.Writes != 0 {
			t.Errorf("%s: in the way of the gate: %+v", rule, now)
		}
		if b, err := io.ReadAll(res.Body); err != nil || len(b) != 12 || res.Trailer.Get("Grpc-Status") != "14" {
			t.Errorf("%s: %q, %v, %v", rule, b, err, res.Trailer)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: the server did not hear of it", rule)
		}
		if b, e := r.Breakers()[0], r.Endpoints()[0]; b.Failures != 0 || e.State != pool.Healthy {
			t.Errorf("%s: blamed: %+v, %+v", rule, b, e)
		}
	}
}

// At once, and without a word.
func TestCloseEndsStreamsAtOnce(t *testing.T) {
	s, ended := living(t, capability.StreamsClose, longest)
	_, r, _ := s.socket()
	read, write := s.events("GET"), s.events("POST")
	s.set(switching(state(2, capability.Legacy, 0)))
	if said, _ := io.ReadAll(r); len(said) > 0 {
		t.Errorf("the client of the WebSocket heard %q", said)
	}
	for _, res := range []reply{read, write} {
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("a stream that was cut looks whole")
		}
	}
	for range 3 {
		<-ended
	}
	back := []<-chan reply{s.returning(liveSocket), s.returning("GET" + liveEvents)}
	s.switched(2)
	for _, one := range back {
		if res := <-one; res.Header.Get(headerSide) != "extracted" {
			t.Errorf("who came back: %v", res)
		}
	}
}

// They stay over the switch, nobody waits for them, and new ones are reads like others.
func TestKeepLeavesStreamsAlone(t *testing.T) {
	s, _ := living(t, capability.StreamsKeep, time.Nanosecond)
	conn, r, _ := s.socket()
	read, write := s.events("GET"), s.events("POST")
	s.set(switching(state(2, capability.Legacy, 0)))
	if now, _ := s.serving("orders"); now.Writes != 0 {
		t.Errorf("as the hold begins: %+v", now)
	}
	_, _, new := s.socket()
	if new.Header.Get(headerSide) != "legacy" {
		t.Errorf("during the hold: %v", new)
	}
	s.switched(2)
	if open := s.streams.Open()["orders"]; open != 2 {
		t.Errorf("%d are open", open)
	}
	_ = conn.CloseWrite() // the old side hears of it, and ends its half
	if said, err := io.ReadAll(r); err != nil || len(said) > 0 {
		t.Errorf("the client heard %q, %v", said, err)
	}
	s.legacy.CloseClientConnections()
	for _, res := range []reply{read, write} {
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("a stream whose side has gone looks whole")
		}
	}
	for _, why := range s.reasons(200) {
		if why == string(ReasonMoved) {
			t.Error("a stream was ended")
		}
	}
}

// Neither streams of other capabilities end, nor those at the side that takes over.
func TestASwitchEndsNoOtherStreams(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, capability.Whole), echo, echo, func(o *Options, d *capability.Document) {
		o.Hold.Grace, d.Resilience.Streams = time.Nanosecond, capability.StreamsClose
		d.Routes = append(d.Routes, capability.Route{Path: "/api/orders/feed", Class: capability.Read, Line: 4})
	})
	other := ordersDocument(s.extracted.URL)
	other.Name, other.File, other.Routes[0].Path = "carts", "routes/carts.yaml", "/api/carts/**"
	carts := state(1, capability.Legacy, 0)
	carts.Capability = "carts"
	update := func(orders capability.Effective) {
		t.Helper()
		if problems := s.Update([]capability.Document{s.doc, other}, map[string]capability.Effective{"orders": orders, "carts": carts}); len(problems) > 0 {
			t.Fatal(problems)
		}
	}
	update(state(2, capability.Legacy, capability.Whole))
	type open struct {
		conn net.Conn
		r    *bufio.Reader
	}
	var stay []open
	for _, path := range []string{"/api/carts/live", "/unclaimed", "/api/orders/feed"} { // the last as a reader, at extracted
		conn, r := upgrade(t, s.url, path)
		stay = append(stay, open{conn, r})
	}
	_, goes := upgrade(t, s.url, "/api/orders/live") // as a possible writer, at the owner
	update(switching(state(3, capability.Legacy, capability.Whole)))
	if _, err := goes.ReadByte(); err == nil {
		t.Error("that of the old owner is still open")
	}
	s.switchedBy(3, update)
	for _, one := range stay {
		say(t, one.conn, one.r, "still there")
	}
}

func (s *served) switchedBy(revision uint64, update func(capability.Effective)) {
	s.t.Helper()
	if now := s.Serving(s.t.Context(), "orders", revision, true); now.Writes != 0 {
		s.t.Fatalf("in the way of the gate: %+v", now)
	}
	update(state(revision+1, capability.Extracted, capability.Whole))
}

// A proxy that hears of the new owner alone, because it was cut off from the store, ends
// what is at the old one all the same.
func TestASwitchThatWasMissedEndsStreams(t *testing.T) {
	s, ended := living(t, capability.StreamsDrain, longest)
	conn, r, _ := s.socket()
	s.set(state(7, capability.Extracted, capability.Whole))
	if said, err := io.ReadAll(r); err != nil || string(said) != goodbye {
		t.Errorf("the client heard %q, %v", said, err)
	}
	<-ended
	conn.Close()
	s.closed()
}

// A capability without data has no owner to change.
func TestStreamsWithoutDataStay(t *testing.T) {
	plain := func(revision uint64, weight capability.Weight) capability.Effective {
		e := state(revision, capability.Legacy, weight)
		e.HasData = false
		return e
	}
	s := serve(t, plain(1, 0), echo, nil, func(_ *Options, d *capability.Document) {
		d.Data, d.Resilience.Streams = nil, capability.StreamsClose
	})
	conn, r := upgrade(t, s.url, "/api/orders/live")
	e := plain(2, capability.Whole)
	e.Owner = capability.Extracted
	s.set(e)
	say(t, conn, r, "still there")
}

// Clients that come back all at once do not take the places of writes.
func TestStreamsDoNotTakeThePlacesOfWrites(t *testing.T) {
	h := newHold(HoldLimits{Requests: 2, Bytes: 1000, Age: longest})
	h.set(switching(state(1, capability.Legacy, 0)))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	pass := func(stream bool) {
		wg.Go(func() { _, _ = h.pass(ctx, someWrite, 0, stream) })
	}
	held := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " are held"), func() bool { s, _ := h.serving(); return s.Held == n })
	}
	pass(true)
	pass(true)
	held(2)
	if _, err := h.pass(ctx, someWrite, 0, true); err == nil {
		t.Error("a third stream has a place")
	}
	pass(false)
	pass(false)
	held(4)
	if _, err := h.enter(ctx, someWrite, 0); err == nil {
		t.Error("a third write has a place")
	}
}

// Whenever a stream begins: it is told of the switch once, and counted until it is gone.
func TestStreamsThatBeginAsTheHoldDoes(t *testing.T) {
	for range 300 {
		h := newHold(wide)
		h.set(state(1, capability.Legacy, 0))
		var told, streams atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				e, err := h.enter(t.Context(), someWrite, 0)
				if err != nil {
					t.Error(err)
					return
				}
				s := &openStream{key: someWrite, side: e.Owner, owner: e.Owner, writes: true}
				gone := make(chan struct{})
				s.end = func(capability.Streams) {
					told.Add(1)
					close(gone)
				}
				if e.Owner == capability.Legacy {
					streams.Add(1)
				}
				h.enlist(s)
				h.leave(someWrite)
				if e.Owner == capability.Legacy {
					<-gone
				}
				h.delist(s)
			})
		}
		h.set(switching(state(2, capability.Legacy, 0)))
		for { // as long as the controller would wait
			s, changed := h.serving()
			if s.Writes == 0 {
				break
			}
			<-changed
		}
		if told.Load() != streams.Load() {
			t.Fatalf("the gate may close, and %d of %d streams were told", told.Load(), streams.Load())
		}
		h.set(state(3, capability.Extracted, 0))
		wg.Wait()
		if s, _ := h.serving(); s.Writes != 0 || len(h.streams) != 0 || len(h.routes) != 0 {
			t.Fatalf("left behind: %+v", s)
		}
	}
}

// How a request for a stream is told from others, and what `route explain` says of it.
func TestUpgradesArePossibleWrites(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, capability.Whole), nil, nil, func(_ *Options, d *capability.Document) {
		d.Routes = append(d.Routes, capability.Route{Path: "/api/orders/feed", Class: capability.Read, Line: 4})
	})
	upgrades := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	for _, c := range []struct {
		path   string
		header http.Header
		rule   capability.Streams
		want   capability.Class
	}{
		{"/api/orders/live", upgrades, capability.StreamsDrain, capability.Write},
		{"/api/orders/live", upgrades, capability.StreamsClose, capability.Write},
		{"/api/orders/live", upgrades, capability.StreamsKeep, capability.Read},
		{"/api/orders/feed", upgrades, capability.StreamsDrain, capability.Read},
		{"/api/orders/live", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"h2c"}}, capability.StreamsDrain, capability.Read},
		{"/api/orders/live", http.Header{"Accept": {"text/event-stream"}}, capability.StreamsDrain, capability.Read},
	} {
		s.doc.Resilience.Streams = c.rule
		s.set(state(1, capability.Legacy, capability.Whole))
		d, err := s.Explain(Request{Method: "GET", URL: c.path, Headers: c.header})
		side := map[capability.Class]capability.Side{capability.Write: capability.Legacy, capability.Read: capability.Extracted}[c.want]
		if said := strings.Contains(fmt.Sprint(d.Reasons), "streams: keep"); err != nil || d.Class != c.want || d.Side != side || said != (c.want == capability.Write) {
			t.Errorf("%s %v, %s: %+v, %v", c.path, c.header, c.rule, d, err)
		}
	}
	for accept, want := range map[string]bool{"text/event-stream": true, "text/html, text/event-stream;q=0.5": true, "*/*": false, "": false, "text/event-streams": false} {
		if got := asksForStream(&http.Request{Header: http.Header{"Accept": {accept}}}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}
