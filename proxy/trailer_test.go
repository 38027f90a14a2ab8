package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"strangler/proxy/pool"
)

// http2Upstream takes HTTP/2 by hand, because net/http's server drops trailers that
// were not announced. It answers each request with 200 and hands on its trailer.
func http2Upstream(t *testing.T, trailers chan<- http.Header) string {
	t.Helper()
	return rawUpstream(t, func(conn net.Conn) {
		readStreams(conn, func(f *http2.Framer, id uint32, trailer http.Header) {
			trailers <- trailer
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}, EndStream: true, EndHeaders: true})
		})
	})
}

// rawUpstream hands every connection to serve, and closes it then.
func rawUpstream(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	return "http://" + l.Addr().String()
}

// readStreams tells answer of every request that has come in, with its trailer.
func readStreams(conn net.Conn, answer func(f *http2.Framer, id uint32, trailer http.Header)) {
	in := bufio.NewReader(conn)
	if _, err := io.CopyN(io.Discard, in, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, in)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	begun := map[uint32]bool{}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		var trailer http.Header
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = f.WritePing(true, frame.Data)
		case *http2.MetaHeadersFrame:
			if begun[frame.StreamID] {
				trailer = http.Header{}
				for _, field := range frame.Fields {
					trailer.Add(field.Name, field.Value)
				}
			}
			begun[frame.StreamID] = true
		}
		if head := frame.Header(); head.Flags.Has(http2.FlagDataEndStream) && begun[head.StreamID] {
			answer(f, head.StreamID, trailer)
		}
	}
}

// A client may read a trailer as it reads a header (RFC 9110, 6.5.1): nothing gets
// there that frames, routes or describes an answer, sets a cookie, belongs to one
// connection, or is the proxy's to say. Everything else does.
func TestTrailersOfAnswersAreScrubbed(t *testing.T) {
	stays := []string{"X-Sum", "Grpc-Status", "Grpc-Message", "Server-Timing", "Etag", "Digest"}
	goes := []string{
		"Content-Length", "Transfer-Encoding", "Host", "Trailer", "Connection", "Keep-Alive", "Upgrade", "Te", "X-Named",
		"Content-Encoding", "Content-Type", "Content-Range", "Content-Location", "Location", "Refresh", "Set-Cookie", "Www-Authenticate",
		"Cache-Control", "Age", "Expires", "Date", "Vary", "Retry-After", "Pragma", "Authorization", "If-Match", "Range",
		"Alt-Svc", "X-Request-Id", "X-Strangler-Side", "X-Strangler-Else", "X_strangler_side", "X.strangler~Gate", "X-Strangler-Gate",
	}
	forbidden := map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Trailer": true} // net/http refuses to have them announced
	for _, front := range fronts {
		for _, b := range backs[:2] {
			for _, announced := range []bool{false, true} {
				t.Run(fmt.Sprint(front.name, " to ", b.name, ", announced ", announced), func(t *testing.T) {
					var announce []string
					for _, name := range slices.Concat(stays, goes) {
						if announced && !forbidden[name] && (name != "X-Named" || b.major == 1) {
							announce = append(announce, name)
						}
					}
					up := rawUpstream(t, func(conn net.Conn) {
						if b.major == 2 {
							readStreams(conn, func(f *http2.Framer, id uint32, _ http.Header) {
								http2Answer(f, id, announce, slices.Concat(stays, goes))
							})
							return
						}
						http1Answers(conn, announce, slices.Concat(stays, goes))
					})
					r := pairing{front, b, pool.Standard}.before(t, nil, up)
					for _, path := range []string{"/api/orders/1", "/unclaimed"} {
						a, res := r.get("GET", path, 200, nil, "Te", "trailers")
						if a.body != "body" {
							t.Errorf("%s: %q", path, a.body)
						}
						for name, values := range res.Trailer {
							if !slices.Contains(stays, name) || !slices.Equal(values, []string{"7"}) {
								t.Errorf("%s: the client got %s: %q in a trailer", path, name, values)
							}
						}
						if len(res.Trailer) != len(stays) {
							t.Errorf("%s: trailers %v, want %v", path, res.Trailer, stays)
						}
					}
				})
			}
		}
	}
}

// http2Answer answers with a trailer that has each name with the value 7.
func http2Answer(f *http2.Framer, id uint32, announce, names []string) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSizeLimit(0)
	write := func(end bool, fields ...string) {
		block.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: strings.ToLower(fields[i]), Value: fields[i+1]})
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true})
	}
	head := []string{":status", "200"}
	if len(announce) > 0 {
		head = append(head, "trailer", strings.Join(announce, ", "))
	}
	write(false, head...)
	_ = f.WriteData(id, false, []byte("body"))
	var trailer []string
	for _, name := range names {
		if name != "X-Named" { // there is no Connection over HTTP/2
			trailer = append(trailer, name, "7")
		}
	}
	write(true, trailer...)
}

// http1Answers does the same for every request of a connection.
func http1Answers(conn net.Conn, announce, names []string) {
	in := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		var out strings.Builder
		out.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Named\r\n")
		if len(announce) > 0 {
			fmt.Fprintf(&out, "Trailer: %s\r\n", strings.Join(announce, ", "))
		}
		out.WriteString("\r\n4\r\nbody\r\n0\r\n")
		for _, name := range names {
			fmt.Fprintf(&out, "%s: 7\r\n", name)
		}
		out.WriteString("\r\n")
		if _, err := io.WriteString(conn, out.String()); err != nil {
			return
		}
	}
}

// A client need not announce its trailers (RFC 9110, 6.6.2). Over HTTP/1.1 they pass
// all the same, clean of what only the proxy may say. Over HTTP/2 net/http's server
// drops them, and the request is whole without.
func TestUnannouncedTrailersOfRequests(t *testing.T) {
	for _, front := range fronts {
		for _, b := range backs[:2] {
			t.Run(front.name+" to "+b.name, func(t *testing.T) {
				got := make(chan http.Header, 1)
				c := pairing{front, b, pool.Standard}
				var r *rig
				if b.major == 2 {
					r = c.before(t, nil, http2Upstream(t, got))
				} else {
					r = c.start(t, func(_ http.ResponseWriter, r *http.Request) {
						if body, err := io.ReadAll(r.Body); err != nil || string(body) != "body" {
							t.Errorf("%q arrived, %v", body, err)
						}
						got <- r.Trailer
					})
				}
				for range 2 {
					body, say := io.Pipe()
					req := r.request("POST", "/api/orders/1", body)
					req.Trailer = http.Header{} // Go's client announces what is in it now, and sends what is in it then
					go func() {
						_, _ = io.WriteString(say, "body")
						req.Trailer.Set("X-Sum", "42")
						req.Trailer.Set("X-Forwarded-For", "6.6.6.6")
						_ = say.Close()
					}()
					if a, _ := r.send(req); a.err != nil || a.status != 200 {
						t.Fatalf("%d %v %s", a.status, a.err, a.body)
					}
					want := ""
					if front.major == 1 {
						want = "42"
					}
					if trailer := <-got; trailer.Get("X-Sum") != want || trailer.Get("X-Forwarded-For") != "" {
						t.Errorf("trailers %v arrived, want X-Sum: %s", trailer, want)
					}
				}
			})
		}
	}
}
