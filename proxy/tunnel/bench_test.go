package tunnel

import (
	"io"
	"testing"
)

// BenchmarkBulk is one direction over TCP, in pieces of 32 KiB.
func BenchmarkBulk(b *testing.B) {
	var s Set
	c := carry(b, &s, Options{Idle: defaultLinger})
	done := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, c.upstream)
		done <- n
	}()
	piece := make([]byte, largeBuffer)
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
