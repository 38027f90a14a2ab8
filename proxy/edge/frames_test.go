package edge

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is an HTTP/2 client that does what a test says, frame by frame.
type frames struct {
	*http2.Framer
	t       testing.TB
	conn    net.Conn
	block   bytes.Buffer
	encoder *hpack.Encoder
}

// speak begins HTTP/2 on a connection.
func speak(t testing.TB, c net.Conn) *frames {
	t.Helper()
	f := &frames{Framer: http2.NewFramer(c, c), t: t, conn: c}
	f.encoder = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f.must(f.WriteSettings())
	return f
}

// overFrames runs a test with TLS and without.
func overFrames(t *testing.T, o Options, test func(t *testing.T, s *running, f *frames)) {
	t.Helper()
	o.HTTP2 = true
	t.Run("h2c", func(t *testing.T) {
		s := run(t, o)
		test(t, s, speak(t, dial(t, s.address)))
	})
	t.Run("TLS", func(t *testing.T) {
		a := newAuthority(t, "root")
		files := a.files("server")
		a.write(files, "x")
		o := o
		o.TLS = &TLS{Certificates: []CertificateFiles{files}}
		s := run(t, o)
		config := a.config("x")
		config.NextProtos = []string{"h2"}
		test(t, s, speak(t, dialTLS(t, s.address, config)))
	})
}

func (f *frames) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// encode returns a header block of names and values in turn.
func (f *frames) encode(fields ...string) []byte {
	f.t.Helper()
	f.block.Reset()
	for pair := range slices.Chunk(fields, 2) {
		f.must(f.encoder.WriteField(hpack.HeaderField{Name: pair[0], Value: pair[1]}))
	}
	return f.block.Bytes()
}

// request sends the header of one, in one frame. Fields of the same name as one of
// the usual ones replace it.
func (f *frames) request(stream uint32, end bool, fields ...string) {
	f.t.Helper()
	all := []string{}
	for pair := range slices.Chunk([]string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/"}, 2) {
		if i := slices.Index(fields, pair[0]); i >= 0 && i%2 == 0 {
			pair[1] = fields[i+1]
			fields = slices.Delete(fields, i, i+2)
		}
		all = append(all, pair...)
	}
	f.must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.encode(append(all, fields...)...), EndStream: end, EndHeaders: true}))
}

// next returns the next frame that says something about a stream, the end of the
// connection, or a PING of ours. It acknowledges what must be.
func (f *frames) next() (http2.Frame, error) {
	f.t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.must(f.WriteSettingsAck())
			}
		case *http2.PingFrame:
			if frame.IsAck() {
				return frame, nil
			}
			f.must(f.WritePing(true, frame.Data))
		case *http2.WindowUpdateFrame:
		default:
			return frame, nil
		}
	}
}

// status returns that of the next answer's header, which must come next.
func (f *frames) status(stream uint32) string {
	f.t.Helper()
	frame, err := f.next()
	f.must(err)
	h, ok := frame.(*http2.MetaHeadersFrame)
	if !ok || h.StreamID != stream {
		f.t.Fatalf("%v came instead of an answer", frame)
	}
	return h.PseudoValue("status")
}

// quiet fails the test when something was said before it.
func (f *frames) quiet(what string) {
	f.t.Helper()
	f.must(f.WritePing(false, [8]byte{1}))
	if frame, err := f.next(); err != nil || frame.Header().Type != http2.FramePing {
		f.t.Errorf("%s: %v, %v", what, frame, err)
	}
}

// answer reads one to its end, and returns its status and body; "reset" for none.
func (f *frames) answer(stream uint32) (status, body string) {
	f.t.Helper()
	for {
		frame, err := f.next()
		f.must(err)
		if frame.Header().StreamID != stream {
			f.t.Fatalf("%v came in the midst of an answer", frame)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
		case *http2.DataFrame:
			body += string(frame.Data())
		case *http2.RSTStreamFrame:
			return "reset", body
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return status, body
		}
	}
}
