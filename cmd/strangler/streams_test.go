package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
)

// slow messages begin so.
const slow = "slow "

// What a frame of a WebSocket is. No payload here is longer than 125 bytes.
const (
	text    = 0x81
	closing = 0x88
	masked  = 0x80
)

// writeFrame writes one frame; a client's is masked, with zeros.
func writeFrame(w io.Writer, kind, mask byte, payload string) error {
	head := []byte{kind, mask | byte(len(payload))}
	if mask != 0 {
		head = append(head, 0, 0, 0, 0)
	}
	_, err := w.Write(append(head, payload...))
	return err
}

func readFrame(r io.Reader) (kind byte, payload string, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, "", err
	}
	key := make([]byte, 4*(head[1]>>7))
	body := make([]byte, head[1]&^masked)
	if _, err := io.ReadFull(r, key); err != nil {
		return 0, "", err
	}
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, "", err
	}
	for i := range key {
		for j := i; j < len(body); j += len(key) {
			body[j] ^= key[i]
		}
	}
	return head[0], string(body), nil
}

// live are applications that write down each message of a WebSocket before they answer it, and push events to whoever asks
// for them.
type live struct {
	h    *house
	busy chan (chan struct{}) // hears of a message that is slow, and may close what it gets

	mu       sync.Mutex
	answered map[string]string // by message; what its client may not have heard. Guarded by mu
}

func (l *live) app(side capability.Side) http.HandlerFunc {
	h := l.h
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			push(side, w, r)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			h.t.Error(err)
			return
		}
		defer conn.Close() //nolint:errcheck // the client notices
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		for err == nil {
			var kind byte
			var note string
			if kind, note, err = readFrame(buffered); err != nil {
				return
			}
			if kind == closing {
				_ = writeFrame(conn, closing, 0, note) // as polite servers do
				return
			}
			if strings.HasPrefix(note, slow) {
				goOn := make(chan struct{})
				l.busy <- goOn
				<-goOn
			}
			err = writeFrame(conn, text, 0, l.note(side, note))
		}
	}
}

// note writes a row, and says what became of it: done SIDE, or refused SIDE.
func (l *live) note(side capability.Side, note string) (said string) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.answered[note] = said
	}()
	h := l.h
	_, err := h.pools[side].Exec(context.WithoutCancel(h.t.Context()), `INSERT INTO orders (note) VALUES ($1)`, note)
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return "done " + string(side)
	case errors.As(err, &refused) && refused.Code == "P0S01":
		return "refused " + string(side)
	default:
		return fmt.Sprintf("%.100s", err.Error())
	}
}

func push(side capability.Side, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := fmt.Fprintf(w, "data: %s\n\n", side)
		if err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// answers are those to messages so far, and how many of them were refused by a side.
func (l *live) answers() (all map[string]string, refused map[capability.Side]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	refused = map[capability.Side]int64{}
	for _, said := range l.answered {
		if side, is := strings.CutPrefix(said, "refused "); is {
			refused[capability.Side(side)]++
		}
	}
	return maps.Clone(l.answered), refused
}

// upgraded opens a WebSocket, which may wait for a release.
func (h *house) upgraded() (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", h.clients)
	if err != nil {
		return nil, nil, err
	}
	_, err = fmt.Fprintf(conn, "GET /api/%s/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", h.name)
	r := bufio.NewReader(conn)
	var res *http.Response
	if err == nil {
		res, err = http.ReadResponse(r, nil) //nolint:bodyclose // what comes behind a 101 is no body
	}
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the upgrade was answered %s", res.Status)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, r, nil
}

// chat is a client that writes by messages, one after the other, and comes back at once when it is cut off.
type chat struct {
	h    *house
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	said  map[string]string // what it was told of each message; empty: nothing. Guarded by mu
	ends  []string          // how connections ended: told, or cut; since it was asked last. Guarded by mu
	all   []string          // the same, since the beginning. Guarded by mu
	after string            // the last answer. Guarded by mu
}

func (h *house) chats() *chat {
	c := &chat{h: h, said: map[string]string{}}
	ctx, stop := context.WithCancel(h.t.Context())
	c.stop = sync.OnceFunc(func() { stop(); c.done.Wait() })
	h.t.Cleanup(c.stop)
	c.done.Go(func() {
		pace := time.NewTicker(10 * time.Millisecond) // a switch goes over no more than 2,000 rows that nobody has compared
		defer pace.Stop()
		for n := 0; ctx.Err() == nil; {
			conn, r, err := h.upgraded()
			if err != nil {
				h.t.Error(err)
				return
			}
			n = c.talk(ctx, n, conn, r, pace.C)
			_ = conn.Close()
		}
	})
	return c
}

// talk uses one connection until it ends.
func (c *chat) talk(ctx context.Context, n int, conn net.Conn, r io.Reader, pace <-chan time.Time) int {
	for ; ; n++ {
		select {
		case <-ctx.Done():
			return n
		case <-pace:
		}
		note := fmt.Sprintf("message %d", n)
		c.hear(note, "")
		if err := writeFrame(conn, text, masked, note); err != nil {
			c.end("cut")
			return n + 1
		}
		kind, said, err := readFrame(r)
		if err != nil {
			c.end("cut")
			return n + 1
		}
		if kind == closing {
			_ = writeFrame(conn, closing, masked, said)
			c.end("told " + fmt.Sprint(int(said[0])<<8+int(said[1])))
			return n + 1
		}
		c.hear(note, said)
	}
}

func (c *chat) hear(note, said string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said[note] = said
	if said != "" {
		c.after = said
	}
}

func (c *chat) end(how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends, c.all = append(c.ends, how), append(c.all, how)
}

func (c *chat) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.after
}

// ended returns how its connections have ended since it was asked last.
func (c *chat) ended() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := strings.Join(c.ends, ", ")
	c.ends = nil
	return out
}

// judge stops the client, and holds what it was told, and what the applications have answered, against the rows of both sides
// and the count of the gates.
func (l *live) judge(c *chat) {
	h, t := l.h, l.h.t
	t.Helper()
	c.stop()
	h.eventually("both sides equal", func(capability.Status) bool {
		query := `SELECT row(id, note)::text FROM public.orders`
		return firstDifference(h.rows(capability.Legacy, query), h.rows(capability.Extracted, query)) == ""
	})
	rows := map[string]int{}
	for _, note := range h.rows(capability.Legacy, `SELECT note FROM public.orders`) {
		rows[note]++
	}
	answered, refused := l.answers()
	done := 0
	for note, said := range answered {
		switch n := rows[note]; {
		case strings.HasPrefix(said, "done ") && n == 1:
			done++
		case strings.HasPrefix(said, "refused ") && n == 0:
		default:
			t.Errorf("%q was answered %q, and there are %d rows", note, said, n)
		}
	}
	unheard := 0
	for note, said := range c.said {
		if said == "" {
			unheard++
		} else if said != answered[note] {
			t.Errorf("%q was answered %q, and its client was told %q", note, answered[note], said)
		}
	}
	if done == 0 || unheard > len(c.all) {
		t.Errorf("%d messages were written; of %d the answer was not heard, over %d connections", done, unheard, len(c.all))
	}
	for side, n := range h.status().Data.Refused {
		if n.Count != refused[side] {
			t.Errorf("%s has refused %d messages, and counted %d", side, refused[side], n.Count)
		}
	}
	t.Logf("%d messages written, refused %v, %d answers not heard", done, refused, unheard)
}

// listener is a client of an event stream.
type listener struct {
	side chan string // of the last event that was heard
	over chan error  // how the stream has ended
}

func (h *house) listens() *listener {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+h.clients+"/api/"+h.name+"/events", nil)
	h.must(err)
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(request)
	h.must(err)
	h.t.Cleanup(func() { _ = response.Body.Close() })
	l := &listener{side: make(chan string), over: make(chan error, 1)}
	go func() {
		lines := bufio.NewReader(response.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				l.over <- err
				return
			}
			if side, is := strings.CutPrefix(strings.TrimSpace(line), "data: "); is {
				select {
				case l.side <- side:
				default: // nobody asks now
				}
			}
		}
	}()
	return l
}

// hears waits for the next event, and says which side it came from.
func (l *listener) hears() string {
	select {
	case side := <-l.side:
		return side
	case err := <-l.over:
		return err.Error()
	case <-time.After(30 * time.Second):
		return "nothing"
	}
}

// TestStreamsOverASwitch: a WebSocket that writes, one that only listens and does not go, and an event stream are open over
// a cutover and a rollback, by each rule for streams. No message that was acknowledged is lost; what is refused is not
// there, its client is told where it still can be, and it is counted.
func TestStreamsOverASwitch(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	for _, rule := range []capability.Streams{capability.StreamsDrain, capability.StreamsClose, capability.StreamsKeep} {
		t.Run(string(rule), func(t *testing.T) {
			t.Parallel()
			name := "streams_" + string(rule)
			h := newHouse(t, name, "  tables:\n    - table: orders\nresilience:\n  streams: "+string(rule)+"\n")
			l := &live{h: h, busy: make(chan chan struct{}), answered: map[string]string{}}
			h.app = l.app
			h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY, note text)`)
			h.types("data", "plan", name, "--create")
			h.down = h.up()
			h.types("data", "start", name)
			h.types("data", "verify", name)
			c := h.chats()
			if rule == capability.StreamsKeep {
				l.kept(c)
			} else {
				for _, verb := range []string{"cutover", "rollback"} {
					l.parted(c, rule, verb)
				}
			}
			l.judge(c)
		})
	}
}

// parted switches with streams that end with it.
func (l *live) parted(c *chat, rule capability.Streams, verb string) {
	h, t := l.h, l.h.t
	t.Helper()
	from, to := capability.Legacy, capability.Extracted
	if verb == "rollback" {
		from, to = to, from
	}
	h.eventually("messages are written at "+string(from), func(capability.Status) bool { return c.last() == "done "+string(from) })
	conn, deaf, err := h.upgraded() // hears, and does nothing
	h.must(err)
	defer conn.Close() //nolint:errcheck // it is over
	events := h.listens()
	if side := events.hears(); side != string(from) {
		t.Errorf("before the %s events come from %s", verb, side)
	}
	// A message that its side is still working at when the hold begins.
	late, _, err := h.upgraded()
	h.must(err)
	defer late.Close() //nolint:errcheck // it is over
	h.must(writeFrame(late, text, masked, slow+verb))
	goOn := <-l.busy
	typed := make(chan string, 1)
	go func() {
		out, status := h.try(verb, h.name)
		if status != 0 {
			t.Errorf("strangler %s: exit status %d\n%s", verb, status, out)
		}
		typed <- out
	}()
	h.eventually("the switch runs", func(s capability.Status) bool {
		return s.Effective.Phase == capability.Switching || s.Effective.Owner == to
	})
	close(goOn)
	t.Log(<-typed)

	h.eventually("messages are written at "+string(to), func(capability.Status) bool { return c.last() == "done "+string(to) })
	want, goodbye := "told 1001", "\x88\x02\x03\xe9"
	if rule == capability.StreamsClose {
		want, goodbye = "cut", ""
	}
	if got := c.ended(); got != want {
		t.Errorf("%s: who writes was %s, want %s", verb, got, want)
	}
	if said, err := io.ReadAll(deaf); string(said) != goodbye || err != nil && rule != capability.StreamsClose {
		t.Errorf("%s: who only listens heard %q, %v", verb, said, err)
	}
	select {
	case err := <-events.over:
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: the event stream ended by %v", verb, err)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("%s: the event stream goes on", verb)
	}
	if side := h.listens().hears(); side != string(to) {
		t.Errorf("after the %s events come from %s", verb, side)
	}
	if s := h.status(); s.Effective.Owner != to {
		t.Errorf("after the %s: %+v", verb, s.Effective)
	}
	h.eventually("the slow message is answered", func(capability.Status) bool {
		all, _ := l.answers()
		return all[slow+verb] != ""
	})
	all, _ := l.answers()
	t.Logf("the slow message was %s", all[slow+verb])
}

// kept switches with streams that stay where they are.
func (l *live) kept(c *chat) {
	h, t := l.h, l.h.t
	t.Helper()
	refused := func() int64 {
		_, all := l.answers()
		return all[capability.Legacy]
	}
	h.eventually("messages are written at legacy", func(capability.Status) bool { return c.last() == "done legacy" })
	events := h.listens()
	h.types("cutover", h.name, "--rehearse")
	h.eventually("messages are written as before", func(capability.Status) bool { return c.last() == "done legacy" })
	if n, a := refused(), h.status().Effective.Attempt; a == nil || a.Refused != n {
		t.Errorf("%d messages were refused in a rehearsal that ended as %+v", n, a)
	} else if n > 0 {
		if out, status := h.try("cutover", h.name); status == 0 || !strings.Contains(out, "--accept-refused") {
			t.Errorf("after a rehearsal that has refused %d messages: exit status %d\n%s", n, status, out)
		}
	}
	before := refused()
	h.types("cutover", h.name, "--accept-refused")
	h.eventually("messages are refused", func(capability.Status) bool { return c.last() == "refused legacy" })
	if side := events.hears(); side != "legacy" {
		t.Errorf("after the cutover events come from %s", side)
	}
	conn, r, err := h.upgraded()
	h.must(err)
	defer conn.Close() //nolint:errcheck // it is over
	h.must(writeFrame(conn, text, masked, "of a new one"))
	if _, said, err := readFrame(r); said != "done extracted" {
		t.Errorf("who comes after the cutover was told %q, %v", said, err)
	}
	if out := h.types("status", h.name); !strings.Contains(out, "of kept streams") {
		t.Errorf("the status tells nothing of refused messages:\n%s", out)
	}
	h.types("rollback", h.name)
	h.eventually("messages are written again", func(capability.Status) bool { return c.last() == "done legacy" })
	if side := events.hears(); side != "legacy" {
		t.Errorf("after the rollback events come from %s", side)
	}
	if ends := c.ended(); ends != "" {
		t.Errorf("a stream that is kept was %s", ends)
	}
	h.must(writeFrame(conn, text, masked, "of one behind"))
	if _, said, err := readFrame(r); said != "refused extracted" {
		t.Errorf("who stayed at extracted after the rollback was told %q, %v", said, err)
	}
	if refused() == before {
		t.Error("no message was refused while extracted owned")
	}
}
