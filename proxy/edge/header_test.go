package edge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// overHTTP2 runs a test with TLS and without, with a client of one connection.
func overHTTP2(t *testing.T, o Options, test func(t *testing.T, s *running, c *http.Client, url string)) {
	t.Helper()
	o.HTTP2 = true
	t.Run("h2c", func(t *testing.T) {
		s := run(t, o)
		test(t, s, client(t, h2c), "http://"+s.address)
	})
	t.Run("TLS", func(t *testing.T) {
		a := newAuthority(t, "root")
		files := a.files("server")
		a.write(files, "x")
		o := o
		o.TLS = &TLS{Certificates: []CertificateFiles{files}}
		s := run(t, o)
		c := client(t, func(p *http.Protocols) { p.SetHTTP2(true) })
		c.Transport.(*http.Transport).TLSClientConfig = a.config("x")
		test(t, s, c, "https://"+s.address)
	})
}

// A request whose header is too large is refused alone: others on its connection live.
func TestALargeHeaderLeavesItsConnectionAlone(t *testing.T) {
	t.Parallel()
	const most = 8 << 10
	large := map[string]http.Header{
		"one":  {"X-A": {strings.Repeat("a", 300<<10)}},
		"many": {},
	}
	for i := range most / 30 {
		large["many"].Set(fmt.Sprint("X-A-", i), "a")
	}
	inside, release := make(chan string, 8), make(chan struct{})
	var reached atomic.Int64
	overHTTP2(t, Options{Limits: Limits{HeaderBytes: most}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			inside <- r.RemoteAddr
			<-release
		case "/large":
			reached.Add(1)
		}
		_, _ = io.WriteString(w, r.RemoteAddr)
	})}, func(t *testing.T, s *running, c *http.Client, url string) {
		sibling := make(chan string, 1)
		go func() {
			res, err := c.Get(url + "/wait")
			if err != nil {
				sibling <- err.Error()
				return
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			sibling <- string(b)
		}()
		address := within(t, "the sibling", inside)
		for name, header := range large {
			req, err := http.NewRequest(http.MethodGet, url+"/large", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header
			res, err := c.Do(req)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			res.Body.Close()
			if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: %d", name, res.StatusCode)
			}
		}
		if n := s.Stats().TooLarge; n != uint64(len(large)) {
			t.Errorf("%d were counted", n)
		}
		release <- struct{}{}
		if got := within(t, "the sibling's answer", sibling); got != address {
			t.Errorf("the sibling: %s", got)
		}
		if _, now := get(t, c, url); now != address {
			t.Errorf("the connection is another one: %s, %s before", now, address)
		}
		if reached.Load() > 0 {
			t.Error("a large header reached the handler")
		}
	})
}

// Over HTTP/1 the whole head counts, to the byte, wherever its pieces end and
// whatever is still being answered before it.
func TestHeaderBytesAreCountedToTheByte(t *testing.T) {
	t.Parallel()
	const most = 1 << 10
	var refused atomic.Int64
	s := run(t, Options{HTTP2: true, Limits: Limits{HeaderBytes: most}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			refused.Add(1)
		}
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	const before = "POST /before HTTP/1.1\r\n" + host + "Content-Length: 1\r\n\r\nb"
	const after = "GET /refused HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n"
	filled := func(path string, size int, line string) string {
		head := "GET " + path + " HTTP/1.1\r\n" + host
		for len(head)+len(line)+2 < size-len("X: \r\n\r\n") {
			head += line
		}
		return head + "X: " + strings.Repeat("a", size-len(head)-len("X: \r\n\r\n")) + "\r\n\r\n"
	}
	for name, line := range map[string]string{"one": strings.Repeat("a", 2*most), "many": "A: b\r\n"} {
		for _, cut := range cuts(0, len(before)+most+1) {
			raw := before + filled("/good", most, line) + before + filled("/refused", most+1, line) + after
			if got := strings.Join(exchange(t, name, s.address, raw, cut), " "); got != "200 200 200 431" {
				t.Errorf("%s, cut at %d: answers %s", name, cut, got)
			}
		}
	}
	if n := refused.Load(); n > 0 {
		t.Errorf("%d refused requests reached the handler", n)
	}
	if stats := s.Stats(); stats.TooLarge == 0 || stats.Malformed > 0 {
		t.Errorf("%+v", stats)
	}
}

// What is refused behind a request that is still being answered waits for its turn.
func TestALargeHeaderWaitsForTheAnswerBeforeIt(t *testing.T) {
	t.Parallel()
	g := newGated()
	s := run(t, Options{Handler: g, Limits: Limits{HeaderBytes: 1 << 10}})
	c := dial(t, s.address)
	send(t, c, "GET /wait HTTP/1.1\r\n"+host+"\r\nGET / HTTP/1.1\r\n"+host+"X: "+strings.Repeat("a", 2<<10))
	within(t, "the request", g.inside)
	until(t, "the next request is read ahead", func() bool { return s.Stats().TooLarge == 1 })
	close(g.release)
	r := bufio.NewReader(c)
	if res, body := answerOf(t, r); res.StatusCode != 200 || body != "done" {
		t.Errorf("the answer before: %d %q", res.StatusCode, body)
	}
	if res, _ := answerOf(t, r); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge || !res.Close {
		t.Errorf("the refusal: %+v", res)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
}

// A trailer is no way around the bound.
func TestALargeTrailerEndsTheBody(t *testing.T) {
	t.Parallel()
	got := make(chan error, 2)
	overHTTP2(t, Options{Limits: Limits{HeaderBytes: 8 << 10}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		got <- err
	})}, func(t *testing.T, _ *running, c *http.Client, url string) {
		body, w := net.Pipe()
		go func() {
			_, _ = io.WriteString(w, "body")
			w.Close()
		}()
		req, err := http.NewRequest(http.MethodPost, url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Sum": {strings.Repeat("a", 100<<10)}}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if err := within(t, "the handler", got); !errors.Is(err, ErrMalformed) {
			t.Errorf("the body ends with %v", err)
		}
	})
}

// What net/http keeps of trailers is bounded by how many may come.
func TestRequestsWithTrailersAreCounted(t *testing.T) {
	t.Parallel()
	inside, release := make(chan bool, 300), make(chan bool)
	most := Limits{}.withDefaults().trailing()
	overFrames(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inside <- true
		<-release
	})}, func(t *testing.T, _ *running, f *frames) {
		stream := uint32(1)
		for range most {
			f.request(stream, false, ":method", "PUT", "trailer", "x-sum")
			within(t, "the request", inside)
			stream += 2
		}
		f.request(stream, false, ":method", "PUT", "trailer", "x-sum")
		if got := f.status(stream); got != "503" {
			t.Errorf("one more: %s", got)
		}
		if status, _ := f.answer(stream); status != "reset" {
			t.Errorf("one more goes on: %s", status)
		}
		f.request(stream+2, true) // one without is none of them
		within(t, "a request without a trailer", inside)
		for range most + 1 {
			release <- true
		}
		ended := map[uint32]bool{}
		for len(ended) < int(most)+1 {
			frame, err := f.next()
			f.must(err)
			if frame.Header().Type == http2.FrameRSTStream || frame.Header().StreamID == stream+2 {
				ended[frame.Header().StreamID] = true
			}
		}
		f.request(stream+4, false, ":method", "PUT", "trailer", "x-sum")
		within(t, "a request behind them", inside)
		release <- true
		if got := f.status(stream + 4); got != "200" {
			t.Errorf("behind them: %s", got)
		}
	})
}
