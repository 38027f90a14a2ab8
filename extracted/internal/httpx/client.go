package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// NewClient returns the one client of a process. All calls go to one gateway, so the pool per host is the
// whole pool: too small a one would open and throw away a connection per call under load. It has no
// timeout of its own; each call brings a context that ends.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: time.Second, KeepAlive: 30 * time.Second}).DialContext,
			MaxIdleConns:          100,
			MaxIdleConnsPerHost:   100,
			MaxConnsPerHost:       200,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: 5 * time.Second,
			DisableCompression:    true,
		},
		// A redirect is an answer nobody here expects; following one would carry credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Answer is what came back from a call that was answered at all.
type Answer struct {
	Status int
	Body   []byte
}

// Message returns the error text of a JSON error answer, or the given fallback.
func (a Answer) Message(fallback string) string {
	var body struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(a.Body, &body); err != nil || body.Error == "" {
		return fallback
	}
	return body.Error
}

// Call sends one request with the trail of ctx and reads the whole answer, at most 1 MiB. It never retries.
// An error means that it is not known whether the other side acted.
func Call(ctx context.Context, c *http.Client, method, url string, header http.Header, body any) (answer Answer, err error) {
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return Answer{}, fmt.Errorf("encode body: %w", err)
		}
		payload = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, payload)
	if err != nil {
		return Answer{}, fmt.Errorf("build request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	TrailOf(ctx).apply(req.Header)
	resp, err := c.Do(req)
	if err != nil {
		return Answer{}, err // already names method and URL
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer of %s %s: %w", method, url, err)
	}
	return Answer{Status: resp.StatusCode, Body: read}, nil
}
