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
	"time"
)

const host = "Host: x\r\n"

// vectors are requests as they are sent; those to be refused have been tried on
// servers in pairs, or are what RFC 9112 lets a server read one way or the other.
var vectors = []struct {
	name string
	raw  string
	good bool
}{
	{"plain", "GET / HTTP/1.1\r\n" + host + "\r\n", true},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", true},
	{"length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc", true},
	{"length zero", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", true},
	{"chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
	{"chunked in capitals", "POST / HTTP/1.1\r\n" + host + "TRANSFER-ENCODING: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n", true},
	{"chunk extension", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0;c\r\n\r\n", true},
	{"trailer", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", true},
	{"trailers in a list", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTrailer: ,X-Sum, ,Y\r\n\r\n0\r\n\r\n", true},
	{"empty line behind a POST", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc\r\n", true},
	{"tab around a value", "GET / HTTP/1.1\r\nHost:\tx\t\r\nX-A: a\tb\r\n\r\n", true},
	{"empty value", "GET / HTTP/1.1\r\n" + host + "X-A:\r\n\r\n", true},
	{"Latin-1 in a value", "GET / HTTP/1.1\r\n" + host + "X-A: \xe4\r\n\r\n", true},

	{"bare CR before chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \rchunked\r\n\r\n0\r\n\r\n", false},
	{"bare CR in a value", "GET / HTTP/1.1\r\n" + host + "X-A: a\rb\r\n\r\n", false},
	{"bare CR at the end of a value", "GET / HTTP/1.1\r\n" + host + "X-A: a\r\r\n\r\n", false},
	{"bare CR as a line end", "GET / HTTP/1.1\rHost: x\r\n\r\n", false},
	{"bare CR in the request line", "GET /\r HTTP/1.1\r\n" + host + "\r\n", false},
	{"bare LF after the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", false},
	{"bare LF in the header", "GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n", false},
	{"bare LF as the end of the header", "GET / HTTP/1.1\r\n" + host + "\n", false},
	{"NUL in a value", "GET / HTTP/1.1\r\n" + host + "X-A: a\x00b\r\n\r\n", false},
	{"NUL in the target", "GET /\x00 HTTP/1.1\r\n" + host + "\r\n", false},
	{"vertical tab before chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", false},
	{"both lengths, CL.TE", "POST / HTTP/1.1\r\n" + host + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", false},
	{"both lengths, TE.CL", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n", false},
	{"equal lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", false},
	{"different lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 0\r\n\r\nabc", false},
	{"lengths in a list", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3, 3\r\n\r\nabc", false},
	{"length with a sign", "POST / HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\nabc", false},
	{"length below zero", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", false},
	{"length in hexadecimal", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x3\r\n\r\nabc", false},
	{"length with an underscore", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1_0\r\n\r\n0123456789", false},
	{"empty length", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n", false},
	{"length that overflows", "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551617\r\n\r\na", false},
	{"gzip, chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false},
	{"chunked twice in a list", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", false},
	{"chunked twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	{"chunked and identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", false},
	{"identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n", false},
	{"xchunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", false},
	{"quoted chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", false},
	{"chunked with a comma", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", false},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	{"underscored coding", "POST / HTTP/1.1\r\n" + host + "Transfer_Encoding: chunked\r\n\r\n", false},
	{"underscored length", "POST / HTTP/1.1\r\n" + host + "Content_Length: 3\r\n\r\n", false},
	{"folded header", "GET / HTTP/1.1\r\n" + host + "X-A: a\r\n b\r\n\r\n", false},
	{"folded coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", false},
	{"folded first line", "GET / HTTP/1.1\r\n " + host + "\r\n", false},
	{"space before the colon", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", false},
	{"tab before the colon", "POST / HTTP/1.1\r\n" + host + "Content-Length\t: 3\r\n\r\nabc", false},
	{"no colon", "GET / HTTP/1.1\r\n" + host + "X-A\r\n\r\n", false},
	{"no name", "GET / HTTP/1.1\r\n" + host + ": a\r\n\r\n", false},
	{"no token", "GET / HTTP/1.1\r\n" + host + "X(A): a\r\n\r\n", false},
	{"Latin-1 in a name", "GET / HTTP/1.1\r\n" + host + "X-\xe4: a\r\n\r\n", false},
	{"two hosts", "GET / HTTP/1.1\r\n" + host + "Host: y\r\n\r\n", false},
	{"the same host twice", "GET / HTTP/1.1\r\n" + host + host + "\r\n", false},
	{"no host", "GET / HTTP/1.1\r\n\r\n", false},
	{"empty host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", false},
	{"hosts in a list", "GET / HTTP/1.1\r\nHost: x,y\r\n\r\n", false},
	{"port", "GET / HTTP/1.1\r\nHost: x:65535\r\n\r\n", true},
	{"port beyond all", "GET / HTTP/1.1\r\nHost: x:65536\r\n\r\n", false},
	{"port of five nines", "GET / HTTP/1.1\r\nHost: x:99999\r\n\r\n", false},
	{"port that overflows", "GET / HTTP/1.1\r\nHost: x:18446744073709551696\r\n\r\n", false},
	{"port beyond all of an address", "GET / HTTP/1.1\r\nHost: [::1]:65536\r\n\r\n", false},
	{"absolute form", "GET http://x/ HTTP/1.1\r\n" + host + "\r\n", true},
	{"absolute form, https, in capitals", "GET HTTPS://x/ HTTP/1.1\r\n" + host + "\r\n", true},
	{"absolute form, port beyond all", "GET http://x:65536/ HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, another scheme", "GET ftp://x/ HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, scheme of WebSocket", "GET ws://x/ HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, opaque", "GET mailto:x HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, http that is opaque", "GET http:x HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, path without a host", "GET http:/x HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, empty host", "GET http:///x HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, somebody before the host", "GET http://a:b@x/ HTTP/1.1\r\n" + host + "\r\n", false},
	{"scheme in the path", "GET /ftp://x/ HTTP/1.1\r\n" + host + "\r\n", true},
	{"absolute form, host that is no name", "GET http://xn--\xc3\xa9/ HTTP/1.1\r\n" + host + "\r\n", false},
	{"absolute form, hosts in a list", "GET http://x,y/ HTTP/1.1\r\n" + host + "\r\n", false},
	{"trailer that is no name", "POST / HTTP/1.1\r\n" + host + "Trailer: a b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	{"trailer that is no name, with a length", "POST / HTTP/1.1\r\n" + host + "Trailer: a, b c\r\nContent-Length: 1\r\n\r\na", false},
	{"HTTP/2.0", "GET / HTTP/2.0\r\n" + host + "\r\n", false},
	{"HTTP/1.2", "GET / HTTP/1.2\r\n" + host + "\r\n", false},
	{"HTTP/0.9", "GET /\r\n\r\n", false},
	{"http/1.1", "GET / http/1.1\r\n" + host + "\r\n", false},
	{"two spaces", "GET  / HTTP/1.1\r\n" + host + "\r\n", false},
	{"tab for a space", "GET\t/\tHTTP/1.1\r\n" + host + "\r\n", false},
	{"space behind the version", "GET / HTTP/1.1 \r\n" + host + "\r\n", false},
	{"fragment behind the path", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", false},
	{"fragment behind the query", "GET /a?b#c HTTP/1.1\r\n" + host + "\r\n", false},
	{"space in the target", "GET /a b HTTP/1.1\r\n" + host + "\r\n", false},
	{"empty line first", "\r\nGET / HTTP/1.1\r\n" + host + "\r\n", false},
	{"half a preface", "PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n", false},
	{"preface with a header", "PRI * HTTP/2.0\r\n" + host + "\r\n", false},

	{"chunk size with 0x", chunkedHead + "0x3\r\nabc\r\n0\r\n\r\n", false},
	{"chunk size with a sign", chunkedHead + "+3\r\nabc\r\n0\r\n\r\n", false},
	{"chunk size with a space behind", chunkedHead + "3 \r\nabc\r\n0\r\n\r\n", false},
	{"chunk size with a space before", chunkedHead + " 3\r\nabc\r\n0\r\n\r\n", false},
	{"chunk size that overflows", chunkedHead + "10000000000000003\r\nabc\r\n0\r\n\r\n", false},
	{"no chunk size", chunkedHead + "\r\nabc\r\n0\r\n\r\n", false},
	{"junk for a chunk size", chunkedHead + "g\r\nabc\r\n0\r\n\r\n", false},
	{"bare LF behind a chunk size", chunkedHead + "3\nabc\r\n0\r\n\r\n", false},
	{"bare CR in a chunk extension", chunkedHead + "3;a\rb\r\nabc\r\n0\r\n\r\n", false},
	{"bare LF behind a chunk extension", chunkedHead + "3;a\nabc\r\n0\r\n\r\n", false},
	{"long chunk extension", chunkedHead + "3;" + strings.Repeat("a", 300) + "\r\nabc\r\n0\r\n\r\n", false},
	{"chunk longer than it says", chunkedHead + "3\r\nabcd\r\n0\r\n\r\n", false},
	{"bare LF behind a chunk", chunkedHead + "3\r\nabc\n0\r\n\r\n", false},
	{"other line end behind a chunk", chunkedHead + "3\r\nabcXX0\r\n\r\n", false},
	{"bare LF behind the last chunk", chunkedHead + "0\r\n\n", false},
	{"length in the trailer", chunkedHead + "0\r\nContent-Length: 3\r\n\r\n", false},
	{"coding in the trailer", chunkedHead + "0\r\nTransfer-Encoding: chunked\r\n\r\n", false},
	{"host in the trailer", chunkedHead + "0\r\nHost: y\r\n\r\n", false},
	{"no colon in the trailer", chunkedHead + "0\r\nabc\r\n\r\n", false},
	{"bare CR in the trailer", chunkedHead + "0\r\nA: b\rc\r\n\r\n", false},
	{"folded trailer", chunkedHead + "0\r\nA: b\r\n c\r\n\r\n", false},
	{"long trailer", chunkedHead + "0\r\n" + strings.Repeat("A: 0123456789abcdef\r\n", 300) + "\r\n", false},
}

const chunkedHead = "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n"

// Every vector comes behind a good request and before another one, in one piece,
// in single bytes, and cut in two at every place.
func TestGuardRefusesWhatTwoServersReadDifferently(t *testing.T) {
	t.Parallel()
	var reached, smuggled atomic.Int64
	s := run(t, Options{HTTP2: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/smuggled":
			smuggled.Add(1)
		case "/before":
		default:
			reached.Add(1)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("a body ends with %v", err)
			}
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	const before = "POST /before HTTP/1.1\r\n" + host + "Content-Length: 1\r\n\r\nb"
	const after = "GET /smuggled HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n"
	refused := uint64(0)
	for _, v := range vectors {
		first := before
		if v.name == "empty line first" || strings.Contains(v.name, "preface") {
			first = "" // these are about the beginning of a connection
		}
		for _, cut := range cuts(len(first), len(first)+len(v.raw)) {
			reached.Store(0)
			smuggled.Store(0)
			raw := first + v.raw + after
			if v.name == "HTTP/1.0" {
				raw = first + v.raw // which closes
			}
			status := exchange(t, v.name, s.address, raw, cut)
			got := strings.Join(status, " ")
			want := "200 "
			if first == "" {
				want = ""
			}
			if v.good {
				want += "200 200"
				if v.name == "HTTP/1.0" {
					want = "200 200"
				}
			} else {
				refused++
				want += "400"
			}
			if got != want {
				t.Errorf("%s, cut at %d: answers %s, want %s", v.name, cut, got, want)
			}
			if v.good != (smuggled.Load() == 1) && v.name != "HTTP/1.0" {
				t.Errorf("%s, cut at %d: what comes behind reached the handler %d times", v.name, cut, smuggled.Load())
			}
			if !v.good && reached.Load() > 0 && !strings.HasPrefix(v.raw, chunkedHead) {
				t.Errorf("%s, cut at %d: reached the handler", v.name, cut)
			}
		}
	}
	if n := s.Stats().Malformed; n != refused {
		t.Errorf("counted %d of %d", n, refused)
	}
}

// cuts returns 0 for one piece, -1 for single bytes, and some places between.
func cuts(from, to int) []int {
	list := []int{0, -1}
	for i := from; i < to; i += 1 + (to-from)/8 {
		list = append(list, i)
	}
	return list
}

// exchange sends raw, cut, and returns the statuses of what comes back until the
// end of the connection, which must not be a reset.
func exchange(t *testing.T, name, address, raw string, cut int) (status []string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		switch {
		case cut < 0:
			for i := range len(raw) {
				if _, err := c.Write([]byte{raw[i]}); err != nil {
					return
				}
			}
		default:
			if _, err := io.WriteString(c, raw[:cut]); err != nil {
				return
			}
			_, _ = io.WriteString(c, raw[cut:])
		}
	}()
	r := bufio.NewReader(c)
	for {
		if _, err := r.Peek(1); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s, cut at %d: the connection ends with %v", name, cut, err)
			}
			return status
		}
		res, body := answerOf(t, r)
		status = append(status, fmt.Sprint(res.StatusCode))
		_ = body
		if res.StatusCode == http.StatusBadRequest && !res.Close {
			t.Errorf("%s, cut at %d: refused without closing", name, cut)
		}
	}
}
