package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
)

// kind is one kind of request.
type kind struct {
	name  string
	share int // of all, relative to the others
	h2c   bool
	run   func(context.Context, *call) error
}

// mixed lists every kind as often as its share.
func (t *traffic) mixed() []kind {
	var all []kind
	for _, k := range []kind{
		{name: "get", share: 22, run: func(ctx context.Context, c *call) error { return t.get(ctx, c, t.h1) }},
		{name: "post", share: 14, run: func(ctx context.Context, c *call) error {
			return t.send(ctx, c, t.h1, http.MethodPost, "/plain/echo")
		}},
		{name: "put", share: 6, run: func(ctx context.Context, c *call) error {
			return t.send(ctx, c, t.h1, http.MethodPut, "/shop/"+strconv.Itoa(c.random.IntN(1000)))
		}},
		{name: "search", share: 3, run: func(ctx context.Context, c *call) error {
			return t.send(ctx, c, t.h1, http.MethodPost, "/shop/search")
		}},
		{name: "unclaimed", share: 3, run: func(ctx context.Context, c *call) error {
			return t.send(ctx, c, t.h1, http.MethodPost, "/monolith/page")
		}},
		{name: "trailers", share: 6, run: func(ctx context.Context, c *call) error { return t.trailers(ctx, c, t.h1) }},
		{name: "head", share: 4, run: t.head},
		{name: "expect", share: 3, run: t.expectContinue},
		{name: "expect-refused", share: 1, run: t.expectRefused},
		{name: "early", share: 1, run: t.early},
		{name: "odd", share: 6, run: t.odd},
		{name: "gone", share: 4, run: t.gone},
		{name: "events", share: 3, run: t.events},
		{name: "socket", share: 3, run: t.socket},
		{name: "h2-get", share: 8, h2c: true, run: func(ctx context.Context, c *call) error { return t.get(ctx, c, t.h2) }},
		{name: "h2-post", share: 5, h2c: true, run: func(ctx context.Context, c *call) error {
			return t.send(ctx, c, t.h2, http.MethodPost, "/plain/echo")
		}},
		{name: "h2-trailers", share: 2, h2c: true, run: func(ctx context.Context, c *call) error { return t.trailers(ctx, c, t.h2) }},
		{name: "h2-gone", share: 1, h2c: true, run: func(ctx context.Context, c *call) error { return t.goneWaiting(ctx, c, t.h2) }},
		{name: "unary", share: 3, h2c: true, run: t.unary},
		{name: "stream", share: 2, h2c: true, run: t.stream},
		{name: "fail", share: 1, h2c: true, run: t.fail},
	} {
		for range k.share {
			if !k.h2c || t.options.h2c {
				all = append(all, k)
			}
		}
	}
	return all
}

func (t *traffic) get(ctx context.Context, c *call, by *http.Transport) error {
	p := t.content.choose(c.random)
	p.at = min(p.at, most)
	target := fmt.Sprintf("/plain/echo?at=%d&size=%d", p.at, p.size)
	if c.random.IntN(3) == 0 {
		target += "&chunked=1"
	}
	res, err := t.do(c, by, t.request(ctx, c, http.MethodGet, target, nil))
	if err != nil {
		return err
	}
	return t.echoed(res, p)
}

// send sends a body, every other time without saying how long it is.
func (t *traffic) send(ctx context.Context, c *call, by *http.Transport, method, target string) error {
	p := t.content.choose(c.random)
	p.at = min(p.at, most)
	var body io.Reader = bytes.NewReader(t.content.of(p))
	if c.random.IntN(2) == 0 {
		body = io.MultiReader(body) // hides its length
	}
	res, err := t.do(c, by, t.sending(ctx, c, method, target, p, body))
	if err != nil {
		return err
	}
	return t.echoed(res, p)
}

func (t *traffic) trailers(ctx context.Context, c *call, by *http.Transport) error {
	p := t.content.choose(c.random)
	p.at = min(p.at, most)
	r := t.sending(ctx, c, http.MethodPost, "/bulk/trailers", p, io.MultiReader(bytes.NewReader(t.content.of(p))))
	r.Trailer = http.Header{headerSum: {sum(t.content.of(p))}}
	res, err := t.do(c, by, r)
	if err != nil {
		return err
	}
	if err := t.echoed(res, p); err != nil {
		return err
	}
	return expect("trailer", sum(t.content.of(p)), res.Trailer.Get(headerSum))
}

func (t *traffic) head(ctx context.Context, c *call) error {
	size := c.random.IntN(most)
	res, err := t.do(c, t.h1, t.request(ctx, c, http.MethodHead, fmt.Sprintf("/plain/echo?at=0&size=%d", size), nil))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return errors.Join(err, expect("status", http.StatusOK, res.StatusCode), expect("announced length", int64(size), res.ContentLength), expect("body of", 0, len(body)))
}

// expectContinue sends the body only when the proxy says so.
func (t *traffic) expectContinue(ctx context.Context, c *call) error {
	p := t.content.choose(c.random)
	p.at, p.size = min(p.at, most), max(p.size, 1)
	var told atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: func() { told.Store(true) }})
	r := t.sending(traced, c, http.MethodPost, "/bulk/echo", p, bytes.NewReader(t.content.of(p)))
	r.Header.Set("Expect", "100-continue")
	res, err := t.do(c, t.h1, r)
	if err != nil {
		return err
	}
	return errors.Join(t.echoed(res, p), expect("told to continue:", true, told.Load()))
}

// unread is a body that must not be asked for.
type unread struct{ read atomic.Int64 }

func (u *unread) Read(p []byte) (int, error) {
	u.read.Add(1)
	return len(p), nil
}

// expectRefused asks for leave to send a body, is answered instead, and must not have sent any of it.
func (t *traffic) expectRefused(ctx context.Context, c *call) error {
	body := &unread{}
	r := t.request(ctx, c, http.MethodPost, "/bulk/early", io.LimitReader(body, most))
	r.ContentLength = most
	r.Header.Set("Expect", "100-continue")
	res, err := t.do(c, t.h1, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return errors.Join(expect("status", http.StatusRequestEntityTooLarge, res.StatusCode), expect("pieces of body sent", 0, body.read.Load()))
}

// early is answered long before its body is through.
func (t *traffic) early(ctx context.Context, c *call) error {
	p := piece{at: 0, size: most}
	res, err := t.alone(t.sending(ctx, c, http.MethodPost, "/bulk/early", p, bytes.NewReader(t.content.of(p))))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return errors.Join(err, expect("id", c.id, res.Header.Get(headerID)), expect("status", http.StatusRequestEntityTooLarge, res.StatusCode),
		expect("text", "too large\n", string(text)))
}
