package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
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
				readStreams(conn, trailers)
			})
		}
	})
	return "http://" + l.Addr().String()
}

func readStreams(conn net.Conn, trailers chan<- http.Header) {
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
			trailers <- trailer
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: head.StreamID, BlockFragment: []byte{0x88}, EndStream: true, EndHeaders: true})
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
