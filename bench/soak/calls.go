package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// The calls are gRPC on the wire, without its library: HTTP/2, messages with five bytes in front, and a status behind
// the body. What a proxy can get wrong is all there.

const grpcType = "application/grpc+soak"

// frame writes one message.
func frame(message []byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(out, message...)
}

// message reads one.
func message(from io.Reader) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > most {
		return nil, fmt.Errorf("no message: % x", head)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(from, body)
	return body, err
}

// rpc answers Fail with a status and nothing else, and gives the messages of the others back one by one.
func (a *answers) rpc(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", grpcType)
	if err := errors.Join(expect("protocol", 2, r.ProtoMajor), expect("TE", "trailers", r.Header.Get("Te"))); err != nil {
		a.account.found("arrival", r.Header.Get(headerID), err)
	}
	if r.URL.Path == "/soak.Calls/Fail" {
		h.Set("Grpc-Status", "5")
		h.Set("Grpc-Message", "no such thing")
		return
	}
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	// Announced trailers and unannounced ones take different ways through net/http; gRPC servers announce none.
	status := http.TrailerPrefix + "Grpc-Status"
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	for {
		if control.Flush() != nil {
			return // the client is gone
		}
		body, err := message(r.Body)
		if errors.Is(err, io.EOF) {
			h.Set(status, "0")
			return
		}
		if err != nil {
			h.Set(status, "13")
			return
		}
		_, _ = w.Write(frame(body)) // the client compares
	}
}

func (t *traffic) invoke(ctx context.Context, c *call, method string, body io.Reader) (*http.Response, error) {
	r := t.request(ctx, c, http.MethodPost, "/soak.Calls/"+method, body)
	r.Header.Set("Content-Type", grpcType)
	r.Header.Set("Te", "trailers")
	res, err := t.do(c, t.h2, r)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(expect("status", http.StatusOK, res.StatusCode), expect("type", grpcType, res.Header.Get("Content-Type"))); err != nil {
		_ = res.Body.Close() // it has failed already
		return nil, err
	}
	return res, nil
}

// ended expects the end of the messages and the status behind them.
func ended(res *http.Response, status string) error {
	if _, err := message(res.Body); !errors.Is(err, io.EOF) {
		return mismatch{"the end of the messages", fmt.Sprint(err)}
	}
	return expect("grpc-status", status, res.Trailer.Get("Grpc-Status"))
}

func (t *traffic) unary(ctx context.Context, c *call) error {
	p := t.content.choose(c.random)
	reader, writer := io.Pipe()
	go func() {
		_, err := writer.Write(frame(t.content.of(p)))
		_ = writer.CloseWithError(err) // it returns nil
	}()
	res, err := t.invoke(ctx, c, "Unary", reader)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := message(res.Body)
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return errors.Join(expect("echo", string(t.content.of(p)) == string(body), true), ended(res, "0"))
}

// stream sends a message only after it has the echo of the one before.
func (t *traffic) stream(ctx context.Context, c *call) error {
	reader, writer := io.Pipe()
	defer reader.Close()
	res, err := t.invoke(ctx, c, "Stream", reader)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for n := range 2 + c.random.IntN(4) {
		p := t.content.sized(c.random, c.random.IntN(4<<10))
		if _, err := writer.Write(frame(t.content.of(p))); err != nil {
			return fmt.Errorf("write message %d: %w", n, err)
		}
		body, err := message(res.Body)
		if err != nil {
			return fmt.Errorf("read message %d: %w", n, err)
		}
		if err := expect("echo", string(t.content.of(p)) == string(body), true); err != nil {
			return err
		}
	}
	if c.random.IntN(5) == 0 {
		return nil // gone in the middle of a stream
	}
	if err := writer.Close(); err != nil {
		return fmt.Errorf("end the messages: %w", err)
	}
	return ended(res, "0")
}

// fail expects an answer that is nothing but a status.
func (t *traffic) fail(ctx context.Context, c *call) error {
	res, err := t.invoke(ctx, c, "Fail", http.NoBody)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := message(res.Body); !errors.Is(err, io.EOF) {
		return mismatch{"no message", fmt.Sprint(err)}
	}
	return expect("grpc-status", "5", res.Header.Get("Grpc-Status")+res.Trailer.Get("Grpc-Status"))
}
