package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// call is one request of the traffic. What it is follows from the seed and its number alone.
type call struct {
	number uint64
	id     string
	user   string
	random *rand.Rand
}

// traffic sends the requests and checks the answers.
type traffic struct {
	options
	base, host string      // of the proxy
	tls        *tls.Config // nil: none
	h1, h2     *http.Transport
	content    *content
	meetings   *meetings
	account    *account
	kinds      []kind // each as often as its share
	sent       atomic.Uint64
}

// limit is how long one request may take before it has failed: above every timeout of the documents.
const limit = 30 * time.Second

// newTraffic makes clients of an address, with TLS where secure is not nil.
func newTraffic(o options, address string, secure *tls.Config, content *content, meetings *meetings, account *account) *traffic {
	t := &traffic{options: o, base: "http://" + address, host: address, tls: secure, content: content, meetings: meetings, account: account}
	h1, h2 := new(http.Protocols), new(http.Protocols)
	h1.SetHTTP1(true)
	h2.SetUnencryptedHTTP2(true)
	if secure != nil {
		t.base = "https://" + address
		h2.SetHTTP2(true)
	}
	t.h1 = &http.Transport{Protocols: h1, TLSClientConfig: secure.Clone(), MaxIdleConnsPerHost: o.concurrency, DisableCompression: true, ExpectContinueTimeout: patience}
	t.h2 = &http.Transport{Protocols: h2, TLSClientConfig: secure.Clone(), DisableCompression: true}
	t.kinds = t.mixed()
	return t
}

// run sends requests up to the given number. allowed blocks while the others are too far behind.
func (t *traffic) run(ctx context.Context, upTo int, allowed func(context.Context, uint64)) {
	var workers sync.WaitGroup
	for range t.concurrency {
		workers.Go(func() {
			for ctx.Err() == nil {
				number := t.sent.Add(1)
				if number > uint64(upTo) {
					t.sent.Add(^uint64(0))
					return
				}
				allowed(ctx, number)
				t.one(ctx, number)
			}
		})
	}
	workers.Wait()
}

func (t *traffic) one(ctx context.Context, number uint64) {
	random := rand.New(rand.NewPCG(t.seed, number))
	k := t.kinds[random.IntN(len(t.kinds))]
	c := &call{number: number, id: name(number), user: "u" + strconv.Itoa(random.IntN(500)), random: random}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	started := time.Now()
	err := k.run(bounded, c)
	if err != nil && ctx.Err() != nil {
		return // told to stop; that it was not finished is said elsewhere
	}
	t.account.count(k.name, c.id, time.Since(started), err)
	t.account.done.Add(1)
}

// hangUp gives the connections back.
func (t *traffic) hangUp() {
	t.h1.CloseIdleConnections()
	t.h2.CloseIdleConnections()
}

func (t *traffic) request(ctx context.Context, c *call, method, target string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, t.base+target, body)
	if err != nil {
		panic(err) // the targets are ours
	}
	r.GetBody = nil // nothing is sent twice by the client
	r.Header.Set(headerID, c.id)
	r.Header.Set("X-User", c.user)
	return r
}

// sending is a request whose body is the piece.
func (t *traffic) sending(ctx context.Context, c *call, method, target string, p piece, body io.Reader) *http.Request {
	r := t.request(ctx, c, method, target, body)
	r.Header.Set(headerAt, strconv.Itoa(p.at))
	r.Header.Set(headerSize, strconv.Itoa(p.size))
	return r
}

// do exchanges a request, and checks that the answer is this request's, from the side that the proxy says.
func (t *traffic) do(c *call, by *http.Transport, r *http.Request) (*http.Response, error) {
	res, err := by.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	if err := errors.Join(expect("id", c.id, res.Header.Get(headerID)), expect("side", res.Header.Get(headerSide), res.Header.Get("X-Strangler-Side"))); err != nil {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300)) // what there is
		_ = res.Body.Close()                                 // it has failed already
		return nil, mismatch{fmt.Sprintf("an upstream's answer to %s %s", r.Method, r.URL.Path), fmt.Sprintf("%d %s (%s)", res.StatusCode, text, err)}
	}
	return res, nil
}

// echoed expects the piece, and nothing but the piece.
func (t *traffic) echoed(res *http.Response, p piece) error {
	defer res.Body.Close()
	if err := expect("status", http.StatusOK, res.StatusCode); err != nil {
		return err
	}
	if err := t.content.compare(res.Body, p); err != nil {
		return mismatch{fmt.Sprintf("%d bytes of echo", p.size), err.Error()}
	}
	return nil
}

// dial connects to the proxy, for what net/http would not send.
func (t *traffic) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.host)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	deadline, _ := ctx.Deadline() // every request has one
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if t.tls != nil {
		own := t.tls.Clone()
		own.ServerName, _, _ = net.SplitHostPort(t.host)
		conn = tls.Client(conn, own)
	}
	return conn, nil
}
