package main

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const eventCount = 4

// events sends each event only after the client has the one before.
func (a *answers) events(w http.ResponseWriter, r *http.Request) {
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	id := r.Header.Get(headerID)
	w.Header().Set("Content-Type", "text/event-stream")
	for n := range eventCount {
		fmt.Fprintf(w, "id: %d\ndata: %s of %s\n\n", n, strings.Repeat("x", n*100), id)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return // the client is gone, and says so itself
		}
		if err := a.meetings.wait(r.Context(), id); err != nil {
			if errors.Is(err, errNobodyCame) {
				a.account.found("flush", id, mismatch{fmt.Sprintf("event %d at the client when it was flushed", n), err.Error()})
			}
			return
		}
	}
}

func (t *traffic) events(ctx context.Context, c *call) error {
	came, end := t.meetings.arrange(c.id)
	defer end()
	res, err := t.do(c, t.h1, t.request(ctx, c, http.MethodGet, "/streams/events", nil))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := expect("status", http.StatusOK, res.StatusCode); err != nil {
		return err
	}
	lines, n := bufio.NewScanner(res.Body), 0
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "data: ") {
			continue
		}
		if err := expect("event", fmt.Sprintf("data: %s of %s", strings.Repeat("x", n*100), c.id), lines.Text()); err != nil {
			return err
		}
		n++
		came()
	}
	return errors.Join(lines.Err(), expect("events", eventCount, n))
}

// accept is RFC 6455's answer to a key.
func accept(key string) string {
	s := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(s[:])
}

// socket switches protocols and sends back what comes, until the other end has closed its half; then it says goodbye.
func (a *answers) socket(w http.ResponseWriter, r *http.Request) {
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusUpgradeRequired)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * patience)) // a connection that has none is not TCP
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n%s: %s\r\n%s: %s\r\n\r\n",
		accept(r.Header.Get("Sec-WebSocket-Key")), headerID, r.Header.Get(headerID), headerSide, w.Header().Get(headerSide))
	n, err := io.Copy(conn, buffered)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			a.account.found("tunnel", r.Header.Get(headerID), mismatch{"the upstream's tunnel to end with the client's", err.Error()})
		}
		return
	}
	fmt.Fprintf(conn, "goodbye after %d", n)
}

// socket talks, closes its half and waits for the goodbye; one in four goes away in the middle.
func (t *traffic) socket(ctx context.Context, c *call) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	key := base64.StdEncoding.EncodeToString(t.content.of(t.content.sized(c.random, 16)))
	fmt.Fprintf(conn, "GET /streams/socket HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s: %s\r\nX-User: %s\r\n\r\n",
		t.host, key, headerID, c.id, c.user)
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, nil) //nolint:bodyclose // a 101 has none
	if err != nil {
		return fmt.Errorf("read the answer to an upgrade: %w", err)
	}
	if err := errors.Join(expect("status", http.StatusSwitchingProtocols, res.StatusCode),
		expect("accepted key", accept(key), res.Header.Get("Sec-WebSocket-Accept")), expect("id", c.id, res.Header.Get(headerID))); err != nil {
		return err
	}
	total := 0
	for range 1 + c.random.IntN(4) {
		p := t.content.sized(c.random, 1+c.random.IntN(8<<10))
		if _, err := conn.Write(t.content.of(p)); err != nil {
			return fmt.Errorf("write into a tunnel: %w", err)
		}
		if err := t.content.compare(io.LimitReader(reader, int64(p.size)), p); err != nil {
			return fmt.Errorf("read from a tunnel: %w", err)
		}
		total += p.size
	}
	if c.random.IntN(4) == 0 {
		return nil
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return fmt.Errorf("close half of a tunnel: %w", err)
	}
	rest, err := io.ReadAll(reader)
	if err != nil {
		return fmt.Errorf("read the rest of a tunnel: %w", err)
	}
	return expect("the other half", fmt.Sprintf("goodbye after %d", total), string(rest))
}
