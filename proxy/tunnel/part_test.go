package tunnel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// frame is one of RFC 6455, as the tests write and read them.
type frame struct {
	final   bool
	opcode  byte
	payload []byte
}

const (
	text = 1
	bye  = 8
	ping = 9
)

func (f frame) bytes(masked bool) []byte {
	first := f.opcode
	if f.final {
		first |= 0x80
	}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	out := []byte{first}
	switch n := len(f.payload); {
	case n < 126:
		out = append(out, mask|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, mask|126), uint16(n)) //nolint:gosec // as just compared
	default:
		out = binary.BigEndian.AppendUint64(append(out, mask|127), uint64(n))
	}
	if !masked {
		return append(out, f.payload...)
	}
	key := []byte{1, 2, 3, 4}
	out = append(out, key...)
	for i, b := range f.payload {
		out = append(out, b^key[i%4])
	}
	return out
}

func readFrame(r io.Reader) (f frame, masked bool, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return f, false, err
	}
	f.final, f.opcode, masked = head[0]&0x80 != 0, head[0]&0x0f, head[1]&0x80 != 0
	length := uint64(head[1] & 0x7f)
	if size := map[uint64]int{126: 2, 127: 8}[length]; size > 0 {
		wide := make([]byte, 8)
		if _, err = io.ReadFull(r, wide[8-size:]); err != nil {
			return f, masked, fmt.Errorf("in a head: %w", io.ErrUnexpectedEOF)
		}
		length = binary.BigEndian.Uint64(wide)
	}
	var key [4]byte
	if masked {
		if _, err = io.ReadFull(r, key[:]); err != nil {
			return f, masked, fmt.Errorf("in a mask: %w", io.ErrUnexpectedEOF)
		}
	}
	f.payload = make([]byte, length)
	if _, err = io.ReadFull(r, f.payload); err != nil {
		return f, masked, fmt.Errorf("in a payload: %w", io.ErrUnexpectedEOF)
	}
	for i := range f.payload {
		f.payload[i] ^= key[i%4]
	}
	return f, masked, nil
}

// goodbye reads frames to the end, of which the last has to be the close frame of a
// server that goes away, and returns how many came before.
func goodbye(r io.Reader, masked bool) (before int, err error) {
	for {
		f, m, err := readFrame(r)
		switch {
		case err != nil:
			return before, fmt.Errorf("behind %d frames: %w", before, err)
		case m != masked:
			return before, fmt.Errorf("a frame is masked: %v", m)
		case f.opcode != bye:
			before++
			continue
		case !f.final || !bytes.Equal(f.payload, []byte{3, 233}):
			return before, fmt.Errorf("a close frame of %v", f.payload)
		}
		if n, err := io.Copy(io.Discard, r); n > 0 || err != nil {
			return before, fmt.Errorf("behind the close frame: %d bytes, %w", n, err)
		}
		return before, nil
	}
}

// over ends a set whose patience is over.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Both sides of a silent WebSocket are told at once, and are heard until they have gone.
func TestWebSocketsAreTold(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(s *Set) *carried{
		"TCP": func(s *Set) *carried { return carry(t, s, Options{WebSocket: true}) },
		"TLS": func(s *Set) *carried {
			client, nearClient := securePair(t)
			upstream, nearUpstream := securePair(t)
			return carryOver(s, client, nearClient, upstream, nearUpstream, Options{WebSocket: true})
		},
	} {
		for _, spoken := range []bool{false, true} {
			var s Set
			c := make(&s)
			if spoken {
				write(t, c.client, string(frame{true, text, []byte("question")}.bytes(true)))
				write(t, c.upstream, string(frame{true, text, []byte("answer")}.bytes(false)))
				if f, _, err := readFrame(c.client); err != nil || string(f.payload) != "answer" {
					t.Fatalf("%q, %v", f.payload, err)
				}
				if f, _, err := readFrame(c.upstream); err != nil || string(f.payload) != "question" {
					t.Fatalf("%q, %v", f.payload, err)
				}
			}
			closed := async(func() int { return s.Drain(over()) })
			for side, e := range map[string]end{"client": c.client, "upstream": c.upstream} {
				if _, err := goodbye(e, side == "upstream"); err != nil {
					t.Errorf("%s, spoken %v: the %s: %v", name, spoken, side, err)
				}
				e.Close()
			}
			if r := c.ended(t); r.End != Drained {
				t.Errorf("%s: %+v", name, r)
			}
			if n := <-closed; n != 1 {
				t.Errorf("%s: closed %d", name, n)
			}
		}
	}
}

func async[T any](f func() T) <-chan T {
	out := make(chan T, 1)
	go func() { out <- f() }()
	return out
}

// talk writes frames, in pieces that know nothing of them, until told is closed. Half is
// for after some of them.
func talk(to io.Writer, random *rand.Rand, masked bool, some int, half chan<- struct{}, told <-chan struct{}) error {
	for n := 0; ; n++ {
		f := frame{random.IntN(3) > 0, byte(random.IntN(3)), make([]byte, []int{0, 1, 125, 126, 127, 5000, 65535, 65536}[random.IntN(8)])}
		if random.IntN(4) == 0 {
			f = frame{true, ping, make([]byte, random.IntN(126))}
		}
		all := f.bytes(masked)
		for len(all) > 0 {
			k := min(len(all), 1+random.IntN(40_000))
			if _, err := to.Write(all[:k]); err != nil {
				return err
			}
			all = all[k:]
		}
		if n == some {
			half <- struct{}{}
		}
		select {
		case <-told:
			return nil
		default:
		}
	}
}

// In the middle of traffic, of frames of every size and of messages in fragments, both
// ways, each side gets whole frames, the close frame, and nothing behind it.
func TestWebSocketsAreCutBetweenFrames(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	for round := range 24 {
		var s Set
		client, nearClient := pair(t)
		upstream, nearUpstream := pair(t)
		for _, conn := range []*net.TCPConn{client, nearClient, upstream, nearUpstream} {
			// What lies in buffers comes before what is said last.
			if err := errors.Join(conn.SetReadBuffer(32<<10), conn.SetWriteBuffer(32<<10)); err != nil {
				t.Fatal(err)
			}
		}
		c := carryOver(&s, client, nearClient, upstream, nearUpstream, Options{WebSocket: true})
		half := make(chan struct{}, 2)
		var all sync.WaitGroup
		for i, e := range []end{c.client, c.upstream} {
			told := make(chan struct{})
			talked := async(func() error {
				return talk(e, rand.New(rand.NewPCG(uint64(round), uint64(i))), i == 0, 5+round, half, told)
			}) //nolint:gosec // sizes of a test
			all.Go(func() {
				before, err := goodbye(e, i == 1)
				heard.Add(int64(before))
				close(told) // who is told ends his frame, and goes
				err = errors.Join(err, <-talked)
				e.Close()
				if err != nil {
					t.Errorf("round %d, end %d: %v", round, i, err)
				}
			})
		}
		<-half
		<-half
		s.Drain(over())
		all.Wait()
		c.ended(t)
	}
	if heard.Load() < 24 {
		t.Errorf("only %d frames came before the last ones", heard.Load())
	}
}

// Nobody waits for long: neither for a frame that does not end, nor for a peer that
// takes nothing, nor for one that does not go.
func TestWebSocketsThatDoNotEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say  []byte
		told bool
	}{
		"a frame that does not end": {frame{true, text, make([]byte, 100)}.bytes(false)[:50], false},
		"a head that does not end":  {[]byte{0x81, 127, 0}, false},
		"a peer that does not go":   {frame{true, text, []byte("x")}.bytes(false), true},
		"no frames":                 {[]byte("hello"), false},
		"a closing of their own":    {frame{true, bye, []byte{3, 232}}.bytes(false), false},
	} {
		var s Set
		tunnel := carry(t, &s, Options{WebSocket: true})
		write(t, tunnel.upstream, string(c.say))
		want(t, tunnel.client, string(c.say))
		began := time.Now()
		closed := async(func() int { return s.Drain(over()) })
		rest, err := io.ReadAll(tunnel.client)
		if told := bytes.Equal(rest, goingAway(false)); err != nil || told != c.told || !told && len(rest) > 0 {
			t.Errorf("%s: %v, %v", name, rest, err)
		}
		if f, masked, err := readFrame(tunnel.upstream); err != nil || f.opcode != bye || !masked {
			t.Errorf("%s: the upstream is told %+v, %v", name, f, err)
		}
		if r := tunnel.ended(t); r.End != Drained || <-closed != 1 {
			t.Errorf("%s: %+v", name, r)
		}
		if took := time.Since(began); took > 10*partWithin {
			t.Errorf("%s: after %v", name, took)
		}
	}
}

// A peer that takes nothing cannot be told, and does not keep the other one from it.
func TestWebSocketsWhosePeerTakesNothing(t *testing.T) {
	t.Parallel()
	var s Set
	c := carry(t, &s, Options{WebSocket: true})
	piece := frame{true, text, make([]byte, 1<<20)}.bytes(false)
	_ = c.upstream.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for {
		if _, err := c.upstream.Write(piece); err != nil {
			break // every buffer is full
		}
	}
	closed := async(func() int { return s.Drain(over()) })
	if f, masked, err := readFrame(c.upstream); err != nil || f.opcode != bye || !masked {
		t.Errorf("the upstream is told %+v, %v", f, err)
	}
	if r := c.ended(t); r.End != Drained || <-closed != 1 {
		t.Errorf("%+v", r)
	}
}

// However a stream is cut into pieces, frames end where they end, and what is none is
// seen to be none.
func FuzzFrames(f *testing.F) {
	f.Add(frame{true, text, []byte("hello")}.bytes(true), uint8(3), true)
	f.Add(append(frame{false, 2, make([]byte, 300)}.bytes(false), frame{true, ping, nil}.bytes(false)...), uint8(1), false)
	f.Add(frame{true, text, make([]byte, 70_000)}.bytes(true), uint8(200), true)
	f.Add([]byte{0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, uint8(2), true)
	f.Add([]byte("hello"), uint8(1), false)
	f.Fuzz(func(t *testing.T, stream []byte, size uint8, masked bool) {
		// Where frames end, by another reader.
		ends, whole := map[int]bool{0: true}, bytes.NewReader(stream)
		for {
			_, m, err := readFrameOf(whole, len(stream))
			if err != nil || m != masked {
				break
			}
			ends[len(stream)-whole.Len()] = true
		}
		pieces, single := frames{masked: masked}, frames{masked: masked}
		for at := 0; at < len(stream); {
			k := min(len(stream)-at, int(size)+1)
			if n := pieces.pass(stream[at:at+k], false); n != k {
				t.Fatalf("%d of %d bytes passed", n, k)
			}
			at += k
			if !pieces.lost && pieces.between() != ends[at] {
				t.Fatalf("behind %d bytes of %x: between %v", at, stream, pieces.between())
			}
		}
		for at := 0; at < len(stream) && !single.lost; {
			n := single.pass(stream[at:], true)
			if n <= 0 {
				t.Fatal("no progress")
			}
			at += n
			if !single.lost && !ends[at] && at < len(stream) {
				t.Fatalf("one frame ends behind %d bytes of %x", at, stream)
			}
		}
		if single.lost != pieces.lost || single.closed != pieces.closed {
			t.Fatalf("%+v, %+v", single, pieces)
		}
	})
}

// readFrameOf is readFrame without making room for what cannot come.
func readFrameOf(r *bytes.Reader, most int) (frame, bool, error) {
	if b := make([]byte, 10); r.Len() >= 10 {
		at := r.Size() - int64(r.Len())
		_, _ = r.ReadAt(b, at)
		if b[1]&0x7f == 127 && binary.BigEndian.Uint64(b[2:]) > uint64(most) { //nolint:gosec // a length
			return frame{}, false, io.ErrUnexpectedEOF
		}
	}
	return readFrame(r)
}

// A tunnel that is parted has its grace: what cannot be told goes on in it, and is closed
// with its end. One that is closed is told nothing.
func TestPartAndClose(t *testing.T) {
	t.Parallel()
	var s Set
	client, nearClient := pair(t)
	upstream, nearUpstream := pair(t)
	plain := &carried{client: client, upstream: upstream, tunnel: s.Begin(""), result: make(chan Result, 1)}
	plain.tunnel.Part(time.Hour)
	go func() {
		defer plain.tunnel.End()
		plain.result <- plain.tunnel.Carry(nearClient, nil, nearUpstream, Options{})
	}()
	write(t, plain.client, "x")
	want(t, plain.upstream, "x")
	plain.tunnel.Close() // it is being parted already: nothing changes
	write(t, plain.client, "y")
	want(t, plain.upstream, "y")
	plain.client.CloseWrite()
	plain.upstream.CloseWrite()
	if r := plain.ended(t); r.End != Drained || r.FromClient != 2 {
		t.Errorf("%+v", r)
	}

	const grace = 50 * time.Millisecond
	for _, o := range []Options{{}, {WebSocket: true}} {
		stays := carry(t, &s, o)
		began := time.Now()
		stays.tunnel.Part(grace)
		if r := stays.ended(t); r.End != Drained || time.Since(began) < grace {
			t.Errorf("%+v: %+v after %v", o, r, time.Since(began))
		}
		said, _ := io.ReadAll(stays.client)
		if told := len(said) > 0; told != o.WebSocket {
			t.Errorf("%+v: the client heard %q", o, said)
		}
	}

	socket := carry(t, &s, Options{WebSocket: true})
	socket.tunnel.Close()
	if r := socket.ended(t); r.End != Drained {
		t.Errorf("%+v", r)
	}
	if said, _ := io.ReadAll(socket.client); len(said) > 0 {
		t.Errorf("the client heard %q", said)
	}

	for _, end := range []func(*Tunnel){(*Tunnel).Close, func(t *Tunnel) { t.Part(grace) }} {
		early := s.Begin("")
		end(early)
		_, nearClient := pair(t)
		_, nearUpstream := pair(t)
		if r := early.Carry(nearClient, nil, nearUpstream, Options{}); r.End != Drained {
			t.Errorf("before it was carried: %+v", r)
		}
		early.End()
	}
}
