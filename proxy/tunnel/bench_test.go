package tunnel

import (
	"bytes"
	"io"
	"strconv"
	"testing"
)

// BenchmarkBulk is one direction over TCP, in pieces of 32 KiB.
func BenchmarkBulk(b *testing.B) {
	benchmarkBulk(b, make([]byte, largeBuffer), Options{Idle: defaultLinger})
}

// BenchmarkFrames is the same in frames of 4 KiB, of which the ends are followed.
func BenchmarkFrames(b *testing.B) {
	piece := bytes.Repeat(frame{true, text, make([]byte, 4<<10-8)}.bytes(true), largeBuffer/(4<<10))
	b.Run("followed", func(b *testing.B) { benchmarkBulk(b, piece, Options{Idle: defaultLinger, WebSocket: true}) })
	b.Run("not", func(b *testing.B) { benchmarkBulk(b, piece, Options{Idle: defaultLinger}) })
}

func benchmarkBulk(b *testing.B, piece []byte, o Options) {
	var s Set
	c := carry(b, &s, o)
	done := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, c.upstream)
		done <- n
	}()
	b.SetBytes(largeBuffer)
	b.ReportAllocs()
	var sent int64
	for b.Loop() {
		n, err := c.client.Write(piece)
		if err != nil {
			b.Fatal(err)
		}
		sent += int64(n)
	}
	_ = c.client.CloseWrite()
	if n := <-done; n != sent {
		b.Errorf("sent %d, received %d", sent, n)
	}
	c.upstream.Close()
	c.ended(b)
}

// BenchmarkEcho is a small message there and back.
func BenchmarkEcho(b *testing.B) {
	var s Set
	c := carry(b, &s, Options{Idle: defaultLinger})
	go func() {
		_, _ = io.Copy(c.upstream, c.upstream)
		c.upstream.Close()
	}()
	message := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.client.Write(message); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c.client, message); err != nil {
			b.Fatal(err)
		}
	}
	c.client.Close()
	c.ended(b)
}

// BenchmarkSilent is what an open tunnel costs while nothing is said.
func BenchmarkSilent(b *testing.B) {
	var s Set
	b.ReportAllocs()
	var all []*carried
	for b.Loop() {
		client, nearClient := memoryPair()
		upstream, nearUpstream := memoryPair()
		all = append(all, carryOver(&s, client, nearClient, upstream, nearUpstream, Options{Idle: defaultLinger}))
	}
	for _, c := range all {
		c.tunnel.Cut()
		c.ended(b)
	}
}

// BenchmarkFollow is what following the ends of frames costs for 32 KiB: of a hundred
// bytes each, and of 4 KiB.
func BenchmarkFollow(b *testing.B) {
	for _, size := range []int{100, 4 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			f := frame{true, text, make([]byte, size-8)}.bytes(true)
			piece := bytes.Repeat(f, largeBuffer/len(f))
			w := &way{frames: frames{masked: true}}
			b.SetBytes(int64(len(piece)))
			b.ReportAllocs()
			for b.Loop() {
				w.begin(piece)
				w.over()
			}
		})
	}
}
