package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"strangler/proxy/edge"
	"strangler/proxy/tunnel"
)

var (
	// errCarried ends the reverse proxy's part in an exchange that was upgraded: there
	// is no failure, and nothing left to answer.
	errCarried = errors.New("the connection was upgraded and has ended")

	errUpgrade = errors.New("the upstream changed to a protocol that was not asked for")
)

// carried is what became of a connection that was upgraded.
type carried struct {
	tunnel.Result
	after time.Duration // from the request's arrival to the 101
}

// Streams waits until the last upgraded connection has ended. When ctx ends first
// it closes the others, also those that are being upgraded, and returns how many
// it closed. It is what edge.Options wants to know of them.
func (p *Proxy) Streams(ctx context.Context) int { return p.streams.Drain(ctx) }

// carry takes the connection of the client from its server, tells it of the change,
// and carries what comes until both ends are done. It returns errCarried then, and
// any other error while there is still somebody to answer.
func (x *exchange) carry(res *http.Response) error {
	upstream, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !x.agreed(res.Header) {
		return errUpgrade
	}
	t := x.proxy.streams.Begin(x.capability())
	defer t.End()
	defer x.enlistTunnel(t)()
	// A drain that is over does not know what is upgraded after it. The counted write's
	// own context does not end, that of its request does.
	ctx := x.request.Context()
	defer context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), edge.ErrEndOfGrace) {
			t.Cut()
		}
	})()
	client, buffered, err := http.NewResponseController(x.writer).Hijack()
	if err != nil {
		return fmt.Errorf("take the client's connection: %w", err)
	}
	x.carried = &carried{after: time.Since(x.started)}
	if err := x.switchOver(client, res.Header); err != nil {
		_ = client.Close() // it is gone
		x.carried.Result = tunnel.Result{End: tunnel.Broken, Err: fmt.Errorf("write the 101: %w", err)}
	} else {
		x.carried.Result = t.Carry(client, buffered.Reader, upstream, tunnel.Options{Idle: x.proxy.options.TunnelIdle, WebSocket: isWebSocket(res.Header)})
	}
	if err := x.carried.Err; err != nil {
		x.failure = err.Error()
	}
	return errCarried
}

// isWebSocket reports whether a 101 as switchOver leaves it changes to the protocol of
// RFC 6455. Others have called themselves so before.
func isWebSocket(h http.Header) bool {
	return strings.EqualFold(h.Get("Upgrade"), "websocket") && h.Get("Sec-Websocket-Accept") != ""
}

// lastWord bounds the writing of a 101, which fits into any connection's buffer.
const lastWord = 10 * time.Second

// switchOver writes the 101. Its connection headers are ours: those of the
// upstream belong to the upstream's connection.
func (x *exchange) switchOver(client net.Conn, h http.Header) error {
	var named []string
	for protocol := range protocols(h) {
		named = append(named, protocol)
	}
	dropHopByHop(h)
	delete(h, "Content-Length") // no 1xx has one
	x.mark(h)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{strings.Join(named, ", ")}
	var head strings.Builder
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if err := h.Write(&head); err != nil {
		return fmt.Errorf("write headers: %w", err)
	}
	head.WriteString("\r\n")
	if err := client.SetWriteDeadline(time.Now().Add(lastWord)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := io.WriteString(client, head.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := client.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear deadline: %w", err)
	}
	return nil
}

// leased is the connection of a 101: its endpoint is busy until it is closed.
type leased struct {
	io.ReadWriteCloser
	end func() // may be called again
}

func (l *leased) Close() error {
	defer l.end()
	return l.ReadWriteCloser.Close()
}

// CloseWrite ends our half, where that can be done.
func (l *leased) CloseWrite() error {
	half, ok := l.ReadWriteCloser.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("close one direction: %w", errors.ErrUnsupported)
	}
	return half.CloseWrite()
}
