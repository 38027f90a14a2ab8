package tunnel

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

// Either half may end first, and what comes on the other one afterwards arrives.
func TestHalfCloseIsPassedOn(t *testing.T) {
	t.Parallel()
	var s Set
	for name, make := range map[string]func() *carried{
		"TCP": func() *carried { return carry(t, &s, Options{}) },
		"TLS": func() *carried {
			client, nearClient := securePair(t)
			upstream, nearUpstream := securePair(t)
			return carryOver(&s, client, nearClient, upstream, nearUpstream, Options{})
		},
	} {
		for _, first := range []string{"client", "upstream"} {
			c := make()
			a, b := c.client, c.upstream
			if first == "upstream" {
				a, b = b, a
			}
			write(t, a, "question")
			if err := a.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(b); err != nil || string(got) != "question" {
				t.Fatalf("%s, %s first: %q, %v", name, first, got, err)
			}
			for range 3 {
				write(t, b, "answer ")
				want(t, a, "answer ")
			}
			if err := b.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(a); err != nil || len(rest) > 0 {
				t.Errorf("%s, %s first: %q, %v", name, first, rest, err)
			}
			up, down := int64(len("question")), int64(3*len("answer "))
			if first == "upstream" {
				up, down = down, up
			}
			if r := c.ended(t); r != (Result{End: Closed, FromClient: up, FromUpstream: down}) {
				t.Errorf("%s, %s first: %+v", name, first, r)
			}
		}
	}
	if n := s.Open(); len(n) != 0 {
		t.Errorf("open: %v", n)
	}
}

// bare has no CloseWrite.
type bare struct{ net.Conn }

// refusing has one that says so.
type refusing struct{ net.Conn }

func (refusing) CloseWrite() error { return errors.ErrUnsupported }

func TestEndWithoutHalfCloseEndsAll(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"none":    func(c net.Conn) net.Conn { return bare{c} },
		"refused": func(c net.Conn) net.Conn { return refusing{c} },
	} {
		var s Set
		client, nearClient := pair(t)
		upstream, nearUpstream := pair(t)
		c := carryOver(&s, client, nearClient, upstream, wrap(nearUpstream), Options{})
		write(t, client, "bye")
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(upstream); err != nil || string(got) != "bye" {
			t.Errorf("%s: the upstream read %q, %v", name, got, err)
		}
		if got, err := io.ReadAll(client); err != nil || len(got) > 0 {
			t.Errorf("%s: the client read %q, %v", name, got, err)
		}
		if r := c.ended(t); r.End != Closed || r.FromClient != 3 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What a client sends with its request, or before it has read the 101, is the
// beginning of its stream.
func TestEarlyBytesComeFirst(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2 << 10, 5000} {
		var s Set
		client, nearClient := pair(t)
		upstream, nearUpstream := pair(t)
		early := strings.Repeat("e", size)
		write(t, client, early)
		r := bufio.NewReaderSize(nearClient, 8<<10)
		if _, err := r.Peek(size); err != nil {
			t.Fatal(err)
		}
		tun := s.Begin("")
		result := make(chan Result, 1)
		go func() { defer tun.End(); result <- tun.Carry(nearClient, r, nearUpstream, Options{}) }()
		write(t, client, "late")
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(upstream); err != nil || string(got) != early+"late" {
			t.Errorf("%d early: %d bytes, %v", size, len(got), err)
		}
		upstream.Close()
		if r := <-result; r.End != Closed || r.FromClient != int64(size+4) {
			t.Errorf("%d early: %+v", size, r)
		}
	}
}

// A reset is no end: the other side must not take what it has for all.
func TestResetIsBroken(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"client", "upstream"} {
		var s Set
		c := carry(t, &s, Options{})
		a, b := c.client, c.upstream
		if who == "upstream" {
			a, b = b, a
		}
		write(t, a, "x")
		want(t, b, "x")
		if err := a.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		a.Close()
		if r := c.ended(t); r.End != Broken || r.Err == nil {
			t.Errorf("%s reset: %+v", who, r)
		}
		if _, err := io.ReadAll(b); err != nil && !errors.Is(err, net.ErrClosed) && !isReset(err) {
			t.Errorf("%s reset: the other read %v", who, err)
		}
	}
}

// TLS that ends within a record was cut, by whoever can send a FIN.
func TestTruncationIsBroken(t *testing.T) {
	t.Parallel()
	var s Set
	client, nearClient := securePair(t)
	upstream, nearUpstream := pair(t)
	c := carryOver(&s, client, nearClient, upstream, nearUpstream, Options{})
	write(t, client, "x")
	want(t, upstream, "x")
	raw := client.(interface{ NetConn() net.Conn }).NetConn()
	write(t, raw, "\x17\x03\x03\x00\x64half a record") // application data, 100 bytes
	if err := raw.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if r := c.ended(t); r.End != Broken || !errors.Is(r.Err, io.ErrUnexpectedEOF) {
		t.Errorf("%+v", r)
	}
}

// Bulk both ways at once arrives as it was sent, in whatever pieces.
func TestBulkBothWays(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	var s Set
	c := carry(t, &s, Options{})
	var sent, received [2][sha256.Size]byte
	var wg sync.WaitGroup
	for i, way := range [][2]end{{c.client, c.upstream}, {c.upstream, c.client}} {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // pieces of data
			h := sha256.New()
			piece := make([]byte, 100<<10)
			for left := size; left > 0; {
				n := min(left, 1+random.IntN(len(piece)))
				for j := range n {
					piece[j] = byte(random.Uint32())
				}
				h.Write(piece[:n])
				if _, err := way[0].Write(piece[:n]); err != nil {
					t.Error(err)
					return
				}
				left -= n
			}
			sent[i] = [sha256.Size]byte(h.Sum(nil))
			if err := way[0].CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			h := sha256.New()
			if _, err := io.Copy(h, way[1]); err != nil {
				t.Error(err)
			}
			received[i] = [sha256.Size]byte(h.Sum(nil))
		})
	}
	wg.Wait()
	if sent != received {
		t.Error("what arrived is not what was sent")
	}
	if r := c.ended(t); r != (Result{End: Closed, FromClient: size, FromUpstream: size}) {
		t.Errorf("%+v", r)
	}
}

func TestBufferGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	var b buffer
	small := len(b.space())
	b.fit(small - 1)
	if len(b.space()) != small {
		t.Error("grew though the read did not fill it")
	}
	b.fit(small)
	if len(b.space()) != largeBuffer {
		t.Error("did not grow")
	}
	for range 10 * enough { // pieces of both sizes keep it
		b.fit(1)
		b.fit(largeBuffer)
	}
	if len(b.space()) != largeBuffer {
		t.Error("shrank between large reads")
	}
	for range enough {
		b.fit(1)
	}
	if len(b.space()) != small {
		t.Error("did not shrink")
	}
}

func TestPrefixedInSmallReads(t *testing.T) {
	t.Parallel()
	p := &prefixed{first: []byte("abcde"), rest: strings.NewReader("fgh")}
	var out bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{p}, make([]byte, 2)); err != nil || out.String() != "abcdefgh" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
