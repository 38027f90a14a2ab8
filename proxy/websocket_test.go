package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"strangler/capability"
)

// At the end of the grace a WebSocket's client and its server are told that the proxy
// goes away, each in frames of its own: a client's are masked.
func TestWebSocketsAreToldOfTheEndOfTheGrace(t *testing.T) {
	const accepts = websocket + "Sec-WebSocket-Accept: x\r\n"
	there := make(chan []byte, 1)
	s := serve(t, state(1, capability.Legacy, 0), changing(accepts, func(conn net.Conn, r *bufio.Reader) {
		_, _ = conn.Write([]byte("\x81\x05hello"))
		b, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		there <- b
	}), nil)
	stop, address := startEdge(t, s, 20*time.Millisecond)
	conn, r, res := dialled(t, address, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"Sec-WebSocket-Key: x\r\n\r\n\x81\x82abcd\x00\x00")
	if res.StatusCode != 101 {
		t.Fatal(res)
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	all, err := io.ReadAll(r)
	if err != nil || string(all) != "\x81\x05hello\x88\x02\x03\xe9" {
		t.Errorf("the client heard %q, %v", all, err)
	}
	conn.Close()
	b := <-there
	if said, ok := bytes.CutPrefix(b, []byte("\x81\x82abcd\x00\x00\x88\x82")); !ok || len(said) != 6 || said[4]^said[0] != 3 || said[5]^said[1] != 0xe9 {
		t.Errorf("the server heard %q", b)
	}
	<-stopped
	if got := s.closed(); got["end"] != "drained" {
		t.Errorf("%v", got)
	}
}

// A stream of events over HTTP/2: its client hears at the beginning of the drain that
// the connection takes no more requests (GOAWAY), gets everything until the end of the
// grace, and then a reset, never an end that looks whole.
func TestEventStreamsAreToldOfTheDrain(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}, nil)
	const grace = 500 * time.Millisecond
	stop, address := startEdge(t, s, grace)
	conn := connect(t, address)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/api/orders/live"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = f.WriteSettings()
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	var told time.Time
	pieces := 0
	stopped := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { defer close(stopped); <-ctx.Done(); stop() }()
	defer func() { cancel(); <-stopped }()
	var began time.Time
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("no reset: %v", err)
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = f.WritePing(true, frame.Data)
		case *http2.DataFrame:
			if frame.StreamEnded() {
				t.Fatal("the stream looks whole")
			}
			_ = f.WriteWindowUpdate(0, max(1, uint32(len(frame.Data())))) //nolint:gosec // a piece
			if began.IsZero() {
				began = time.Now()
				cancel()
			}
			if !told.IsZero() {
				pieces++
			}
		case *http2.GoAwayFrame:
			if told.IsZero() {
				told = time.Now()
			}
		case *http2.RSTStreamFrame:
			if told.IsZero() || pieces < 2 || time.Since(began) < grace {
				t.Errorf("reset %v after the stop, told %v, %d pieces behind that", time.Since(began), told, pieces)
			}
			return
		}
	}
}
