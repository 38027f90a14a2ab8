package edge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// short is a deadline that is the subject of a test; patient, one that must not matter.
const (
	short   = 150 * time.Millisecond
	patient = time.Minute
)

func TestConnectionsBeyondTheLimitAreClosed(t *testing.T) {
	t.Parallel()
	log := &lines{}
	s := run(t, Options{Handler: text("yes"), Limits: Limits{Connections: 2}, Log: log.logger()})
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	one, two := dial(t, s.address), dial(t, s.address)
	if err := errors.Join(ask(one), ask(two)); err != nil {
		t.Fatal(err)
	}
	if ask(dial(t, s.address)) == nil {
		t.Error("a third connection is served")
	}
	if n := log.count("turned a client away"); n != 1 {
		t.Errorf("%d lines tell of it:\n%s", n, log)
	}
	if stats := s.Stats(); stats.Turned != 1 || stats.Open != 2 {
		t.Errorf("%+v", stats)
	}
	one.Close()
	for s.Stats().Open == 2 { // until the server has seen it
		<-time.After(time.Millisecond)
	}
	if err := ask(dial(t, s.address)); err != nil {
		t.Errorf("no place was given back: %v", err)
	}
}

func TestHeaderLimits(t *testing.T) {
	t.Parallel()
	s := run(t, Options{Handler: text("yes"), Limits: Limits{HeaderBytes: 8 << 10, HeaderTime: short, Idle: short}})
	for name, c := range map[string]struct{ raw, want string }{
		"large":        {"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		"many":         {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: a\r\n", 4<<10) + "\r\n", "HTTP/1.1 431"},
		"large target": {"GET /" + strings.Repeat("a", 20<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 431"},
		"slow":         {"GET / HTTP/1.1\r\nHost: x\r\n", ""},
		"silent":       {"", ""},
		"idle":         {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
	} {
		conn := dial(t, s.address)
		send(t, conn, c.raw)
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(b), c.want) || c.want == "" && len(b) > 0 {
			t.Errorf("%s: %.40q, %v", name, b, err)
		}
	}
}

func TestTLSHandshakeIsBounded(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "root")
	files := a.files("server")
	a.write(files, "x")
	s := run(t, Options{Handler: text("yes"), Limits: Limits{HeaderTime: short}, TLS: &TLS{Certificates: []CertificateFiles{files}}})
	silent := dial(t, s.address)
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a client that does not shake hands: %v", err)
	}
	until(t, "the handshake is counted", func() bool { return s.Stats().Handshakes == 1 })
	until(t, "its place is given back", func() bool { return s.Stats().Open == 0 })
}

// drip sends pieces of a body more slowly, all in all, than a stall may last.
func drip(t *testing.T, w io.Writer, piece func(int) string) {
	for i := range 6 {
		<-time.After(short / 3)
		if _, err := io.WriteString(w, piece(i)); err != nil {
			t.Error(err)
		}
	}
}

func TestBodyStall(t *testing.T) {
	t.Parallel()
	got := make(chan error, 1)
	s := run(t, Options{HTTP2: true, Limits: Limits{BodyStall: short}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		got <- err
		_, _ = fmt.Fprint(w, len(b))
	})})
	for name, c := range map[string]struct {
		head  string
		piece func(i int) string
	}{
		"length":  {"Content-Length: 6\r\n\r\n", func(int) string { return "a" }},
		"chunked": {"Transfer-Encoding: chunked\r\n\r\n", func(i int) string { return []string{"2\r", "\nab\r\n", "1\r\n", "a", "\r\n0\r\n", "\r\n"}[i] }},
	} {
		slow := dial(t, s.address)
		send(t, slow, "POST / HTTP/1.1\r\nHost: x\r\n"+c.head)
		drip(t, slow, c.piece)
		if err := within(t, "the handler", got); err != nil {
			t.Errorf("%s: a slow body was cut off: %v", name, err)
		}
		dead := dial(t, s.address)
		send(t, dead, "POST / HTTP/1.1\r\nHost: x\r\n"+c.head+c.piece(0))
		if err := within(t, "the handler", got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a stalled body ends with %v", name, err)
		}
	}
	if n := s.Stats().Stalled; n != 2 {
		t.Errorf("%d stalls were counted", n)
	}
	body, w := io.Pipe()
	defer w.Close()
	go drip(t, w, func(int) string { return "a" })
	req, err := http.NewRequest(http.MethodPost, "http://"+s.address, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client(t, h2c).Do(req) // it stalls after six bytes
	if err == nil {
		res.Body.Close()
	}
	if err := within(t, "the handler", got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("HTTP/2: a stalled body ends with %v", err)
	}
	if n := s.Stats().Stalled; n != 3 {
		t.Errorf("%d stalls were counted", n)
	}
}

// What the handler leaves is read by net/http, to keep the connection.
func TestBodyStallAfterTheHandler(t *testing.T) {
	t.Parallel()
	s := run(t, Options{Handler: text("yes"), Limits: Limits{BodyStall: short}})
	c := dial(t, s.address)
	send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\na")
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
}

func TestHandlersInterruptReads(t *testing.T) {
	t.Parallel()
	got, done := make(chan error, 1), make(chan struct{})
	s := run(t, Options{Limits: Limits{BodyStall: patient}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reading := make(chan struct{})
		go func() {
			_, _ = r.Body.Read(make([]byte, 1))
			close(reading)
			_, err := r.Body.Read(make([]byte, 1))
			got <- err
		}()
		<-reading
		if err := http.NewResponseController(w).SetReadDeadline(time.Now()); err != nil {
			t.Error(err)
		}
		if err := within(t, "the read", got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the read ends with %v", err)
		}
		close(done)
	})})
	c := dial(t, s.address)
	send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na")
	within(t, "the handler", done)
}

func TestWriteStall(t *testing.T) {
	t.Parallel()
	const size = 64 << 20 // more than any buffer between
	got := make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(w, io.LimitReader(zeros{}, size))
		if err == nil && n != size {
			err = io.ErrShortWrite
		}
		got <- err
	})
	s := run(t, Options{Handler: handler, HTTP2: true, Limits: Limits{WriteStall: 2 * short}})
	for name, c := range map[string]*http.Client{"HTTP/1.1": client(t), "HTTP/2": client(t, h2c)} {
		res, err := c.Get("http://" + s.address)
		if err != nil {
			t.Fatal(err)
		}
		if err := within(t, "the handler", got); err == nil {
			t.Errorf("%s: wrote everything to a client that reads nothing", name)
		}
		res.Body.Close()
	}
	if n := s.Stats().Stalled; n != 2 {
		t.Errorf("%d stalls were counted", n)
	}
	// A slow reader takes longer than the stall in all, and gets everything.
	slow := dial(t, s.address)
	send(t, slow, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	begun := time.Now()
	b := make([]byte, 1<<20)
	for {
		n, err := slow.Read(b)
		if err != nil {
			break
		}
		if time.Since(begun) < 4*short && n > 0 {
			<-time.After(short / 4)
		}
	}
	if err := within(t, "the handler", got); err != nil {
		t.Errorf("a slow reader was cut off: %v", err)
	}
}

// Over HTTP/2 a client that takes little at a time is no stalled one, however much the
// handler writes at once.
func TestASlowReaderOverHTTP2(t *testing.T) {
	t.Parallel()
	const size, takes = 32 << 10, 1 << 10
	got := make(chan error, 1)
	s := run(t, Options{HTTP2: true, Limits: Limits{WriteStall: 12 * short}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := w.Write(make([]byte, size))
		got <- err
	})})
	f := speak(t, dial(t, s.address))
	f.must(f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: takes}))
	f.request(1, true)
	if status := f.status(1); status != "200" {
		t.Fatal(status)
	}
	for taken := 0; taken < size; { // in all, more than twice as long as a stall may last
		frame, err := f.next()
		f.must(err)
		data, ok := frame.(*http2.DataFrame)
		if !ok {
			t.Fatalf("%v came after %d bytes", frame, taken)
		}
		taken += len(data.Data())
		<-time.After(short * time.Duration(len(data.Data())) / takes)
		f.must(f.WriteWindowUpdate(1, uint32(len(data.Data()))))
	}
	if err := within(t, "the handler", got); err != nil {
		t.Error(err)
	}
}

func TestAnIdleStreamIsNoStall(t *testing.T) {
	t.Parallel()
	s := run(t, Options{HTTP2: true, Limits: Limits{WriteStall: short, BodyStall: short, Idle: short}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 2 {
			_, _ = io.WriteString(w, "data: x\n\n")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			select {
			case <-time.After(3 * short):
			case <-r.Context().Done():
				t.Errorf("%s: cut off: %v", r.Proto, r.Context().Err())
			}
		}
	})})
	for _, c := range []*http.Client{client(t), client(t, h2c)} {
		if res, body := get(t, c, "http://"+s.address); strings.Count(body, "data") != 2 {
			t.Errorf("%s: %q", res.Proto, body)
		}
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
