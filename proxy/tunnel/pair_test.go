package tunnel

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns the two ends of a TCP connection.
func pair(t testing.TB) (far, near *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// end is a connection that can end one half.
type end interface {
	net.Conn
	CloseWrite() error
}

// securePair is pair under TLS.
func securePair(t testing.TB) (far, near end) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	certificates := server.TLS.Certificates
	server.Close()
	c, s := pair(t)
	a := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // a test's own peer
	b := tls.Server(s, &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12})
	shaken := make(chan error, 1)
	go func() { shaken <- a.HandshakeContext(context.Background()) }()
	if err := b.HandshakeContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return a, b
}

// carried is a tunnel between two ends that the test holds.
type carried struct {
	client   end
	upstream end
	tunnel   *Tunnel
	result   chan Result
}

// carry starts a tunnel over TCP.
func carry(t testing.TB, s *Set, o Options) *carried {
	t.Helper()
	client, nearClient := pair(t)
	upstream, nearUpstream := pair(t)
	return carryOver(s, client, nearClient, upstream, nearUpstream, o)
}

func carryOver(s *Set, client end, nearClient net.Conn, upstream end, nearUpstream io.ReadWriteCloser, o Options) *carried {
	c := &carried{client: client, upstream: upstream, tunnel: s.Begin("orders"), result: make(chan Result, 1)}
	go func() {
		defer c.tunnel.End()
		c.result <- c.tunnel.Carry(nearClient, nil, nearUpstream, o)
	}()
	return c
}

// ended waits for the result.
func (c *carried) ended(t testing.TB) Result {
	t.Helper()
	select {
	case r := <-c.result:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("the tunnel does not end")
	}
	return Result{}
}

// want reads exactly s.
func want(t testing.TB, r io.Reader, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != s {
		t.Fatalf("read %q, %v; want %q", b, err, s)
	}
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// memory is an end in memory, for tests in which only time matters.
type memory struct {
	net.Conn // nil: nobody asks for addresses or deadlines
	r        *io.PipeReader
	w        *io.PipeWriter
}

func memoryPair() (far, near *memory) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return &memory{r: r1, w: w2}, &memory{r: r2, w: w1}
}

func (m *memory) Read(p []byte) (int, error)  { return m.r.Read(p) }
func (m *memory) Write(p []byte) (int, error) { return m.w.Write(p) }
func (m *memory) CloseWrite() error           { return m.w.Close() }
func (m *memory) Close() error {
	m.r.CloseWithError(net.ErrClosed)
	return m.w.Close()
}
