package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// gone goes away: while it waits, while it sends, or while it is answered.
func (t *traffic) gone(ctx context.Context, c *call) error {
	switch c.random.IntN(3) {
	case 0:
		return t.goneWaiting(ctx, c, t.h1)
	case 1:
		return t.goneSending(ctx, c)
	}
	return t.goneReading(ctx, c)
}

// goneWaiting is cancelled before the upstream has an answer, which the upstream must see.
func (t *traffic) goneWaiting(ctx context.Context, c *call, by *http.Transport) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(1+c.random.IntN(40))*time.Millisecond)
	defer cancel()
	res, err := by.RoundTrip(t.request(ctx, c, http.MethodGet, "/streams/wait", nil))
	if err != nil {
		return expect("cancelled by us:", true, ctx.Err() != nil)
	}
	defer res.Body.Close()
	return mismatch{"no answer", res.Status}
}

// goneSending breaks its body off. Nobody is left to be answered.
func (t *traffic) goneSending(ctx context.Context, c *call) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	p := t.content.sized(c.random, 64<<10)
	p.at = min(p.at, most)
	fmt.Fprintf(conn, "POST /bulk/echo HTTP/1.1\r\nHost: %s\r\n%s: %s\r\nX-User: %s\r\n%s: yes\r\n%s: %d\r\n%s: %d\r\nContent-Length: %d\r\n\r\n",
		t.host, headerID, c.id, c.user, headerCut, headerAt, p.at, headerSize, p.size, p.size)
	if _, err := conn.Write(t.content.of(p)[:c.random.IntN(p.size)]); err != nil {
		return fmt.Errorf("send half a body: %w", err)
	}
	return conn.Close()
}

// goneReading has had enough of a large answer.
func (t *traffic) goneReading(ctx context.Context, c *call) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	res, err := t.do(c, t.h1, t.request(ctx, c, http.MethodGet, fmt.Sprintf("/plain/echo?at=0&size=%d", most), nil))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	p := piece{at: 0, size: 1 + c.random.IntN(64<<10)}
	return t.content.compare(io.LimitReader(res.Body, int64(p.size)), p)
}
