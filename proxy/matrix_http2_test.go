package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// streamFault is a fault of an upstream that speaks HTTP/2.
type streamFault struct {
	fault
	early  bool // do is called with the request's header, not with its end
	onWire func(s wireStream)
}

// wireStream is one request as an upstream has it.
type wireStream struct {
	conn net.Conn
	f    *http2.Framer
	id   uint32
}

func (s wireStream) head(end bool, status string, more ...string) {
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	_ = encoder.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	for i := 0; i < len(more); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	_ = s.f.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: end})
}

func (s wireStream) half() {
	s.head(false, "200", "content-length", "10")
	_ = s.f.WriteData(s.id, false, []byte("half"))
}

func (s wireStream) reset(code http2.ErrCode) { _ = s.f.WriteRSTStream(s.id, code) }

var streamFaults = []streamFault{
	{fault: fault{name: "refuses", refuse: true, want: [8]outcomeOfFault{other, 503, other, 503, 503, 503, 503, 503}, blames: true}},
	{fault: fault{name: "takes the request and is silent", want: [8]outcomeOfFault{504, 504, 504, 504, 504, 504, 504, 504}, blames: true, tries: 1},
		onWire: func(wireStream) {}},
	{fault: fault{name: "stalls in mid-header", want: [8]outcomeOfFault{504, 504, 504, 504, 504, 504, 504, 504}, blames: true, tries: 1},
		onWire: func(s wireStream) {
			_ = s.f.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: []byte{0x88}})
		}},
	{fault: fault{name: "stalls in mid-body", want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blamesReads: true, tries: 1},
		onWire: func(s wireStream) { s.half() }},
	{fault: fault{name: "resets the stream", want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
		onWire: func(s wireStream) { s.reset(http2.ErrCodeInternal) }},
	{fault: fault{name: "resets the connection", want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
		onWire: func(s wireStream) { reset(s.conn) }},
	{fault: fault{name: "closes the connection", want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
		onWire: func(s wireStream) { s.conn.Close() }},
	{fault: fault{name: "goes away with an error", want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
		onWire: func(s wireStream) { _ = s.f.WriteGoAway(s.id, http2.ErrCodeProtocol, nil); s.conn.Close() }},
	{fault: fault{name: "answers garbage", want: [8]outcomeOfFault{other, 502, 502, 502, 502, 502, 502, 502}, blames: true, tries: 2},
		onWire: func(s wireStream) { utter(s.conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") }},
	{fault: fault{name: "resets the stream in mid-body", want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blames: true, tries: 1},
		onWire: func(s wireStream) { s.half(); s.reset(http2.ErrCodeInternal) }},
	{fault: fault{name: "closes in mid-body", want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blames: true, tries: 1},
		onWire: func(s wireStream) { s.half(); s.conn.Close() }},
	{fault: fault{name: "ends a body too early", want: [8]outcomeOfFault{broken, broken, broken, broken, broken, broken, broken, broken}, blames: true, tries: 1},
		onWire: func(s wireStream) { s.half(); _ = s.f.WriteData(s.id, true, nil) }},
	{fault: fault{name: "answers early", want: [8]outcomeOfFault{403, 403, 403, 403, 403, 403, 403, 403}, tries: 1}, early: true,
		onWire: func(s wireStream) { s.head(true, "403"); s.reset(http2.ErrCodeNo) }},
	{fault: fault{name: "answers 503", want: [8]outcomeOfFault{other, 503, 503, 503, 503, 503, 503, 503}, blames: true, tries: 1},
		onWire: func(s wireStream) { s.head(true, "503") }},
}

// The matrix against an upstream that speaks HTTP/2 alone.
func TestFaultMatrixOverHTTP2(t *testing.T) {
	for _, f := range streamFaults {
		for i, class := range classes {
			for _, front := range fronts[:2] {
				t.Run(f.name+"/"+class.name+"/"+front.name, func(t *testing.T) {
					t.Parallel()
					for _, kind := range kindsOfLeg {
						var arrived atomic.Int64
						failing := nobody(t)
						if !f.refuse {
							failing = f.serve(t, &arrived)
						}
						f.against(t, class, pairing{front, backs[1], kind.make}, failing, &arrived, f.want[i])
					}
				})
			}
		}
	}
}

// serve takes connections until the test ends.
func (f streamFault) serve(t *testing.T, arrived *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				f.speak(conn, arrived)
			})
		}
	})
	return "http://" + l.Addr().String()
}

// speak reads frames until the connection is over.
func (f streamFault) speak(conn net.Conn, arrived *atomic.Int64) {
	in := bufio.NewReader(conn)
	if _, err := io.CopyN(io.Discard, in, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, in)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		head := frame.Header()
		ends := head.Flags.Has(http2.FlagDataEndStream)
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
			continue
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = framer.WritePing(true, frame.Data)
			}
			continue
		case *http2.HeadersFrame:
			arrived.Add(1)
			ends = ends || f.early
		case *http2.DataFrame:
			ends = ends && !f.early
		default:
			continue
		}
		if ends {
			f.onWire(wireStream{conn, framer, head.StreamID})
		}
	}
}
