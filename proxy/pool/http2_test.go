package pool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
)

// Frame types and flags of RFC 9113.
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway = 0, 1, 3, 4, 6, 7
	endOfStream, endOfHeaders, acknowledged                                    = 1, 4, 1
)

func writeFrame(w io.Writer, kind, flags byte, streamID uint32, payload ...byte) {
	head := []byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[5:], streamID)
	w.Write(append(head, payload...))
}

// number is a frame's payload of numbers.
func number(ns ...uint32) (payload []byte) {
	for _, n := range ns {
		payload = binary.BigEndian.AppendUint32(payload, n)
	}
	return payload
}

// frames serves HTTP/2 by hand. request is called when one was read whole, and
// says whether to go on.
func frames(conn net.Conn, in *bufio.Reader, request func(streamID uint32) bool) {
	framesWithBodies(conn, in, func(streamID uint32, _ string) bool { return request(streamID) })
}

func framesWithBodies(conn net.Conn, in *bufio.Reader, request func(streamID uint32, body string) bool) {
	framesAndAcks(conn, in, request, func() {})
}

// framesAndAcks also tells when our settings are in effect.
func framesAndAcks(conn net.Conn, in *bufio.Reader, request func(streamID uint32, body string) bool, acked func()) {
	bodies := map[uint32]string{}
	if _, err := io.CopyN(io.Discard, in, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	writeFrame(conn, frameSettings, 0, 0)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		kind, flags, id := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		if kind == frameData {
			bodies[id] += string(payload)
		}
		switch {
		case kind == frameSettings && flags&acknowledged == 0:
			writeFrame(conn, frameSettings, acknowledged, 0)
		case kind == frameSettings:
			acked()
		case kind == framePing && flags&acknowledged == 0:
			writeFrame(conn, framePing, acknowledged, 0, payload...)
		case (kind == frameHeaders || kind == frameData) && flags&endOfStream != 0:
			if !request(id, bodies[id]) {
				return
			}
		}
	}
}

// succeed answers 200 without a body (HPACK's static entry 8).
func succeed(conn net.Conn, streamID uint32) {
	writeFrame(conn, frameHeaders, endOfStream|endOfHeaders, streamID, 0x88)
}

// What the server says it did not look at is sent again; anything else is not.
func TestHTTP2SaysWhatIsUnprocessed(t *testing.T) {
	const refused, internal = 7, 2
	for _, c := range []struct {
		name string
		end  func(conn net.Conn, streamID uint32) (goOn bool)
		sent int64 // how often the second request may arrive
		err  bool
	}{
		{"GOAWAY below it", func(conn net.Conn, id uint32) bool {
			writeFrame(conn, frameGoAway, 0, 0, number(id-2, 0)...)
			return true
		}, 2, false},
		{"refused", func(conn net.Conn, id uint32) bool {
			writeFrame(conn, frameReset, 0, id, number(refused)...)
			return true
		}, 2, false},
		{"reset", func(conn net.Conn, id uint32) bool {
			writeFrame(conn, frameReset, 0, id, number(internal)...)
			return true
		}, 1, true},
		{"GOAWAY above it, then closed", func(conn net.Conn, id uint32) bool {
			writeFrame(conn, frameGoAway, 0, 0, number(id, 0)...)
			return false
		}, 1, true},
		{"closed", func(net.Conn, uint32) bool { return false }, 1, true},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(c.name+" "+method, func(t *testing.T) {
				t.Parallel()
				var arrived atomic.Int64
				to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
					framesWithBodies(conn, in, func(id uint32, body string) bool {
						n := arrived.Add(1)
						if n > 1 && method == http.MethodPost && body != "a body" {
							t.Errorf("the body that arrived is %q", body)
						}
						switch n {
						case 2:
							return c.end(conn, id)
						default:
							succeed(conn, id)
						}
						return true
					})
				})
				leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
				if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
					t.Fatal(err)
				}
				var body io.Reader
				if method == http.MethodPost {
					body = streamOf("a body")
				}
				_, _, err := exchange(t, leg, method, to, body)
				if (err != nil) != c.err || errors.Is(err, ErrUnsent) || errors.Is(err, ErrUnreachable) {
					t.Errorf("error %v", err)
				}
				if n := arrived.Load() - 1; n != c.sent {
					t.Errorf("it arrived %d times", n)
				}
			})
		}
	}
}

func TestARefusalWithoutEndIsGivenBack(t *testing.T) {
	var arrived atomic.Int64
	to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		frames(conn, in, func(id uint32) bool {
			arrived.Add(1)
			writeFrame(conn, frameReset, 0, id, number(7)...)
			return true
		})
	})
	leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
	for range 2 {
		if _, _, err := exchange(t, leg, http.MethodGet, to, nil); !errors.Is(err, ErrUnsent) {
			t.Fatalf("error %v, want ErrUnsent", err)
		}
	}
	if n := arrived.Load(); n > 2*attempts {
		t.Errorf("asked %d times", n)
	}
}

// A burst on a cold leg makes one connection, and one for every further lot of
// streams that the server allows.
func TestABurstSharesConnections(t *testing.T) {
	for _, c := range spoken {
		if c.major != 2 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const burst = 60
			connections := newCensus()
			all := make(chan struct{})
			var there atomic.Int64
			to, u := serve(t, c.tls, connections, func(http.ResponseWriter, *http.Request) {
				if there.Add(1) == burst {
					close(all)
				}
				<-all
			})
			u.Protocol = c.protocol
			leg := legTo(t, to, u)
			var running sync.WaitGroup
			for range burst {
				running.Go(func() {
					if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
						t.Error(err)
					}
				})
			}
			running.Wait()
			if n := connections.seen.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// Once the server has said that it takes ten streams, the eleventh gets another
// connection.
func TestTheServersStreamLimit(t *testing.T) {
	const limit, requests = 10, 35
	var connections, there atomic.Int64
	all, arrived := make(chan struct{}), make(chan struct{})
	to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		connections.Add(1)
		var mu sync.Mutex
		open := 0
		var running sync.WaitGroup
		defer running.Wait()
		first, acks := true, 0
		known := make(chan struct{}) // the limit, to the client
		framesAndAcks(conn, in, func(id uint32, _ string) bool {
			if first {
				first = false
				writeFrame(conn, frameSettings, 0, 0, 0, 3, 0, 0, 0, limit)
			}
			mu.Lock()
			defer mu.Unlock()
			open++
			if open > limit+1 {
				t.Errorf("%d streams on one connection", open)
			}
			if there.Add(1) == requests {
				close(all)
			}
			running.Go(func() {
				<-known
				arrived <- struct{}{}
				<-all
				mu.Lock()
				defer mu.Unlock()
				open--
				succeed(conn, id)
			})
			return true
		}, func() {
			if acks++; acks == 2 { // the first is that of the settings at the beginning
				close(known)
			}
		})
	})
	leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
	var running sync.WaitGroup
	for range requests {
		running.Go(func() {
			if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
				t.Error(err)
			}
		})
		<-arrived // one after the other: a limit is only known once it came
	}
	running.Wait()
	if n := connections.Load(); n < 4 || n > 6 {
		t.Errorf("%d connections for %d requests at %d each", n, requests, limit)
	}
}

// A peer that vanished is found by a ping, and its requests fail then.
func TestADeadPeerIsNoticed(t *testing.T) {
	to := raw(t, func(nth int, conn net.Conn, in *bufio.Reader) {
		if nth > 1 {
			frames(conn, in, func(id uint32) bool { succeed(conn, id); return true })
			return
		}
		silent := make(chan struct{})
		frames(conn, in, func(uint32) bool { close(silent); return false })
		<-silent
		io.Copy(io.Discard, in) // reads, and never says anything
	})
	leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
	leg.lines.dialer.http2.HTTP2.SendPingTimeout = 20 * time.Millisecond
	leg.lines.dialer.http2.HTTP2.PingTimeout = 20 * time.Millisecond
	_, _, err := exchange(t, leg, http.MethodGet, to, nil)
	if err == nil || errors.Is(err, ErrUnsent) || errors.Is(err, ErrUnreachable) {
		t.Fatalf("error %v", err)
	}
	if _, _, err = exchange(t, leg, http.MethodGet, to, nil); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestAProtocolThatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		address  string
		protocol capability.Protocol
		want     string
	}{
		{"http://127.0.0.1:1", capability.ProtocolHTTP2, "h2 is spoken over TLS"},
		{"https://127.0.0.1:1", capability.ProtocolH2C, "h2c is spoken without TLS"},
		{"ftp://127.0.0.1:1", "", "neither http nor https"},
	} {
		if _, err := Standard(capability.Upstream{Protocol: c.protocol}, parse(t, c.address)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %v", c.protocol, c.address, err)
		}
	}
}

func TestAServerWithoutHTTP2(t *testing.T) {
	connections := newCensus()
	server, u := serveHTTP1(t, connections)
	u.Protocol = capability.ProtocolHTTP2
	if _, _, err := exchange(t, legTo(t, server, u), http.MethodGet, server, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("h2: %v", err)
	}
	u.Protocol = capability.ProtocolAuto
	leg := legTo(t, server, u)
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			if res, _, err := exchange(t, leg, http.MethodGet, server, nil); err != nil || res.ProtoMajor != 1 {
				t.Errorf("auto: %v", err)
			}
		})
	}
	running.Wait()
}
