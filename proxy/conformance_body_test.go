package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/pool"
)

// What has no body has none on the other side, and no framing of one either.
func TestConformRequestsWithoutBody(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "POST"} {
			r.get(method, "/api/orders/1", 200, nil)
			up := <-got
			if up.ContentLength != 0 || len(up.TransferEncoding) > 0 {
				t.Errorf("%s: a body of %d bytes arrived, %v", method, up.ContentLength, up.TransferEncoding)
			}
			// A POST of nothing says so; to the others it would be news.
			if v, there := up.Header["Content-Length"]; there && method != "POST" {
				t.Errorf("%s: Content-Length %q arrived", method, v)
			}
		}
	})
}

// A length that was announced stays announced; one that was not is not made up.
func TestConformLengths(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			length := r.ContentLength
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != "twelve bytes" {
				t.Errorf("%q arrived, %v", b, err)
			}
			w.Header().Set("X-Length", fmt.Sprint(length))
			if length < 0 {
				_, _ = io.WriteString(w, "twelve ")
				_ = http.NewResponseController(w).Flush()
				_, _ = io.WriteString(w, "bytes")
				return
			}
			w.Header().Set("Content-Length", "12")
			_, _ = w.Write(b)
		})
		for _, path := range []string{"/api/orders/1", "/unclaimed"} {
			for _, want := range []int64{12, -1} {
				body := io.Reader(strings.NewReader("twelve bytes"))
				if want < 0 {
					body = struct{ io.Reader }{body}
				}
				a, res := r.get("POST", path, 200, body)
				if a.body != "twelve bytes" || res.ContentLength != want || a.header.Get("X-Length") != fmt.Sprint(want) {
					t.Errorf("sent with length %d, arrived with %s, came back with %d: %q", want, a.header.Get("X-Length"), res.ContentLength, a.body)
				}
			}
		}
	})
}

func TestConformHeadKeepsTheLength(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "HEAD" {
				t.Errorf("%s arrived", r.Method)
			}
			w.Header().Set("Content-Length", "123456")
			w.Header().Set("Etag", `"x"`)
		})
		for range 2 {
			a, res := r.get("HEAD", "/api/orders/1", 200, nil)
			if res.ContentLength != 123456 || a.body != "" || a.header.Get("Etag") != `"x"` {
				t.Errorf("length %d, body %q, %v", res.ContentLength, a.body, a.header)
			}
		}
	})
}

// The answers that end with their header, on a connection that goes on. A 304 may
// tell the length of what it does not carry.
func TestConformAnswersWithoutBody(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Stays", "1")
			switch r.URL.Path {
			case "/api/orders/204":
				w.WriteHeader(204)
			case "/api/orders/205":
				w.WriteHeader(205)
			case "/api/orders/304":
				w.Header().Set("Etag", `"x"`)
				w.WriteHeader(304)
			}
		})
		for _, status := range []int{204, 205, 304, 204} {
			a, res := r.get("GET", fmt.Sprint("/api/orders/", status), status, nil)
			if a.body != "" || a.header.Get("X-Stays") != "1" || res.ContentLength > 0 || len(res.TransferEncoding) > 0 {
				t.Errorf("%d: %q, length %d %v, %v", status, a.body, res.ContentLength, res.TransferEncoding, a.header)
			}
		}
	})
}

// A 205 has no content (RFC 9110, 15.3.6), whatever its side sends. What it sends is
// dropped, its trailer too, and the connections on both sides go on in step. A small
// body does not even cost the one to the side.
func TestConformResetContent(t *testing.T) {
	bodies := map[string]int{"none": 0, "small": 100, "large": 4 << 20}
	conform(t, func(t *testing.T, c pairing) {
		var mu sync.Mutex
		sources := map[string]bool{}
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			sources[r.RemoteAddr] = true
			mu.Unlock()
			q := r.URL.Query()
			size := bodies[q.Get("body")]
			if q.Has("known") {
				w.Header().Set("Content-Length", fmt.Sprint(size))
			} else {
				w.Header().Set("Trailer", "X-Sum")
				defer w.Header().Set("X-Sum", "1")
			}
			w.Header().Set("X-Stays", "1")
			status, _ := strconv.Atoi(q.Get("status"))
			w.WriteHeader(status)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.CopyN(w, zeros{}, int64(size)) // the proxy may have enough of a large one
		})
		for _, body := range []string{"none", "small", "large"} {
			mu.Lock()
			clear(sources)
			mu.Unlock()
			for _, known := range []string{"", "&known"} {
				for _, method := range []string{"GET", "POST", "HEAD"} {
					a, res := r.get(method, "/api/orders/1?status=205&body="+body+known, 205, nil)
					if a.body != "" || res.ContentLength != 0 || len(res.TransferEncoding) > 0 || len(res.Trailer) > 0 || a.header.Get("X-Stays") != "1" {
						t.Errorf("%s, %s%s: %d bytes, length %d %v, %v, %v", method, body, known, len(a.body), res.ContentLength, res.TransferEncoding, a.header, res.Trailer)
					}
					if a, _ = r.get("GET", "/api/orders/1?status=200&body=small&known", 200, nil); len(a.body) != 100 {
						t.Errorf("behind %s, %s%s: %d bytes", method, body, known, len(a.body))
					}
				}
			}
			mu.Lock()
			if n := len(sources); body != "large" && n != 1 {
				t.Errorf("%s: %d connections to the side", body, n)
			}
			mu.Unlock()
		}
	})
}

// The same to the byte, for a client that keeps its connection.
func TestResetContentOnTheWire(t *testing.T) {
	r := pairing{fronts[0], backs[0], pool.Standard}.start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(205)
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Smuggled: 1\r\n\r\n")
	})
	conn := connect(t, r.address)
	_, _ = io.WriteString(conn, "GET /api/orders/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /api/orders/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	b, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(b), "X-Smuggled") || strings.Count(string(b), "HTTP/1.1 205 ") != 2 || strings.Count(string(b), "Content-Length: 0\r\n") != 2 {
		t.Errorf("%v\n%s", err, b)
	}
}

// HTTP/1.0 knows neither chunks nor 1xx: the end of the connection ends a body of
// unknown length.
func TestConformHTTP10Client(t *testing.T) {
	conformWhere(t, fromHTTP1, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(103)
			b, _ := io.ReadAll(r.Body)
			if r.URL.Path == "/api/orders/known" {
				w.Header().Set("Content-Length", fmt.Sprint(len("got ")+len(b)))
			}
			_, _ = io.WriteString(w, "got ")
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(b)
		})
		for _, path := range []string{"/api/orders/known", "/api/orders/unknown"} {
			conn := connect(t, r.address)
			fmt.Fprintf(conn, "POST %s HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", path)
			b, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			head, body, _ := strings.Cut(string(b), "\r\n\r\n")
			if !strings.Contains(head, " 200 OK\r\n") || body != "got hello" || strings.Contains(head, "Transfer-Encoding") || strings.Contains(head, " 103") {
				t.Errorf("%s: %q", path, b)
			}
		}
	})
}

// flow is a body of so many bytes, each piece different, with its checksum.
type flow struct {
	left int
	at   uint32
	sum  uint32
}

func (f *flow) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(len(p), f.left)]
	for i := range p {
		f.at = f.at*1664525 + 1013904223
		p[i] = byte(f.at >> 24)
	}
	f.left -= len(p)
	f.sum = crc32.Update(f.sum, crc32.IEEETable, p)
	return len(p), nil
}

// Both bodies are under way at once and nothing of them is kept: the request's end
// comes long after the answer's beginning (go.dev/issue/13444).
func TestConformLargeBodiesBothWays(t *testing.T) {
	size := 50 << 20
	if testing.Short() {
		size = 4 << 20
	}
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			if _, err := io.Copy(w, r.Body); err != nil {
				t.Error(err)
			}
		})
		body := &flow{left: size}
		res, err := r.client.Do(r.request("POST", "/api/orders/1", body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, res.Body)
		if err != nil || n != int64(size) || sum.Sum32() != body.sum {
			t.Errorf("%d bytes came back, %v; sent %d, checksums %x and %x", n, err, size, body.sum, sum.Sum32())
		}
	})
}

// Question and answer in turn within one request: no side waits for the other's
// end, nor for a buffer to fill.
func TestConformFullDuplexInTurns(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.EnableFullDuplex()
			_ = control.Flush()
			for in := bufio.NewReader(r.Body); ; {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				_, _ = io.WriteString(w, "echo "+line)
				_ = control.Flush()
			}
		})
		out, say := io.Pipe()
		defer say.Close()
		res, err := r.client.Do(r.request("POST", "/api/orders/1", out))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		in := bufio.NewReader(res.Body)
		for i := range 50 {
			fmt.Fprintf(say, "%d\n", i)
			if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("echo %d\n", i) {
				t.Fatalf("%d: %q, %v", i, line, err)
			}
		}
		say.Close()
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("at the end: %q, %v", rest, err)
		}
	})
}

// A refusal comes while the upload goes on, and the client gets to see it then
// (go.dev/issue/40747, 29321, 30597).
func TestConformEarlyReply(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 5))
			_ = http.NewResponseController(w).EnableFullDuplex()
			status := 413
			if r.URL.Path == "/unclaimed" {
				status = 401
			}
			w.Header().Set("Connection", "close")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "no more")
		})
		for path, status := range map[string]int{"/api/orders/1": 413, "/unclaimed": 401} {
			for range 5 {
				out, say := io.Pipe()
				go func() { _, _ = io.WriteString(say, "hello") }() // and the rest never comes
				a, _ := r.get("POST", path, status, out)
				if a.body != "no more" || a.header.Get(headerSide) != "legacy" {
					t.Errorf("%q %v", a.body, a.header)
				}
				say.Close()
			}
		}
		r.settled()
		a, _ := r.get("PUT", "/api/orders/1", 413, strings.NewReader("hello")) // connections are in order
		if a.body != "no more" {
			t.Errorf("%q", a.body)
		}
	})
}

// The same while the client sends as fast as it can, which may see the connection
// break where HTTP/1 has no other way to stop it; but nothing else.
func TestConformEarlyReplyUnderFullUpload(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(413) })
		seen := 0
		for range 10 {
			a, _ := r.send(r.request("POST", "/api/orders/1", &flow{left: 4 << 20}))
			switch {
			case a.err == nil && a.status == 413:
				seen++
			case a.err != nil && c.front.major == 1, a.status == 502 && c.back.major == 1:
			default:
				t.Fatalf("%d %v %s\n%s", a.status, a.err, a.body, r.log)
			}
		}
		if seen == 0 {
			t.Error("nobody got to see the refusal")
		}
	})
}

// notes tells whether it was read, and closed.
type notes struct {
	io.Reader
	read, closed chan struct{}
}

func newNotes(text string) *notes {
	return &notes{strings.NewReader(text), make(chan struct{}, 64), make(chan struct{}, 64)}
}

func (n *notes) Read(p []byte) (int, error) {
	n.read <- struct{}{}
	return n.Reader.Read(p)
}

func (n *notes) Close() error { n.closed <- struct{}{}; return nil }

// The body waits until the upstream wants it, and an answer that comes instead does
// not wait for the body (go.dev/issue/13659, 34902).
func TestConformExpectContinue(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		want := make(chan struct{})
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/api/orders/wanted":
				<-want
				<-want
				b, err := io.ReadAll(r.Body)
				if err != nil || string(b) != "the body" {
					t.Errorf("%q arrived, %v", b, err)
				}
			case "/api/orders/417":
				w.WriteHeader(417)
			case "/api/orders/401":
				w.WriteHeader(401)
			}
		})
		body := newNotes("the body")
		req := r.request("PUT", "/api/orders/wanted", body, "Expect", "100-continue")
		req.ContentLength = 8
		begun := time.Now()
		go func() {
			want <- struct{}{} // the request is there: its body must not be
			// After a second both net/http's client and the leg give up waiting for the 100.
			if time.Since(begun) < 500*time.Millisecond && len(body.read) > 0 {
				t.Error("the body was sent before it was wanted")
			}
			want <- struct{}{}
		}()
		if a, _ := r.send(req); a.err != nil || a.status != 200 {
			t.Errorf("wanted: %d %v %s\n%s", a.status, a.err, a.body, r.log)
		}
		for _, status := range []int{417, 401, 200} {
			body := newNotes("the body")
			req := r.request("PUT", fmt.Sprint("/api/orders/", status), body, "Expect", "100-continue")
			req.ContentLength = 8
			a, _ := r.send(req)
			if a.err != nil || a.status != status {
				t.Errorf("%d: %d %v %s\n%s", status, a.status, a.err, a.body, r.log)
			}
			<-body.closed
			if len(body.read) > 0 {
				t.Errorf("%d: the client sent its body", status)
			}
		}
	})
}

// A body larger than the route takes is refused, wherever that is noticed, and the
// upstream does not take what it got for the whole.
func TestConformBodyBound(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		whole := make(chan int, 8)
		r := c.start(t, func(_ http.ResponseWriter, r *http.Request) {
			if b, err := io.ReadAll(r.Body); err == nil {
				whole <- len(b)
			}
		}, func(_ *Options, d *capability.Document) { d.Routes[0].Body = 1 << 10 })
		r.get("POST", "/api/orders/1", 200, bytes.NewReader(make([]byte, 1<<10)))
		if n := <-whole; n != 1<<10 {
			t.Errorf("%d bytes arrived", n)
		}
		for _, body := range []io.Reader{bytes.NewReader(make([]byte, 1<<10+1)), struct{ io.Reader }{bytes.NewReader(make([]byte, 100<<10))}} {
			a, _ := r.send(r.request("POST", "/api/orders/1", body))
			if a.err != nil || a.status != 413 {
				t.Errorf("%d %v %s\n%s", a.status, a.err, a.body, r.log)
			}
		}
		r.settled()
		if len(whole) > 0 {
			t.Errorf("the upstream took %d bytes for the whole", <-whole)
		}
	})
}
