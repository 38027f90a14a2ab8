package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"strangler/capability"
)

// Client speaks to the admin address of a strangler process. It is safe for
// concurrent use.
type Client struct {
	base  string
	actor string
	http  *http.Client
}

// ErrUnreachable is wrapped by every error that means "nobody answered there".
var ErrUnreachable = errors.New("nobody answers at the admin address")

// ErrNotLeading is wrapped by every error that means "no controller leads there".
var ErrNotLeading = errors.New("no controller leads at the admin address")

// refusedError is an answer that is no success.
type refusedError struct {
	text   string
	status int
}

func (e *refusedError) Error() string { return e.text }

// Is reports a 503 as ErrNotLeading.
func (e *refusedError) Is(target error) bool {
	return target == ErrNotLeading && e.status == http.StatusServiceUnavailable //nolint:errorlint // a sentinel's own comparison
}

// UnreachableError says that nobody answered at an admin address, and why.
type UnreachableError struct {
	Address string
	Cause   error // without the address
}

// Error implements error.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%v (%s): %v", ErrUnreachable, e.Address, e.Cause)
}

// Unwrap lets errors.Is find ErrUnreachable and the cause.
func (e *UnreachableError) Unwrap() []error { return []error{ErrUnreachable, e.Cause} }

// unreachable drops what net/http and net add to a cause: method, URL, address.
func (c *Client) unreachable(err error) error {
	if sending := new(url.Error); errors.As(err, &sending) {
		err = sending.Err
	}
	if dialing := new(net.OpError); errors.As(err, &dialing) {
		err = dialing.Err
	}
	return &UnreachableError{c.base, err}
}

// NewClient returns a client of the admin address, host:port or URL. The actor
// is noted in the ledger for what it changes.
func NewClient(address, actor string) *Client {
	base := address
	if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" {
		base = "http://" + address
	}
	return &Client{base: base, actor: actor, http: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
	}}}
}

// Close gives the client's idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Capabilities returns the status of all capabilities, by name.
func (c *Client) Capabilities(ctx context.Context) ([]capability.Status, error) {
	var all []capability.Status
	err := c.call(ctx, http.MethodGet, "/api/capabilities", nil, &all)
	return all, err
}

// Capability returns the status of one capability.
func (c *Client) Capability(ctx context.Context, name string) (capability.Status, error) {
	var s capability.Status
	err := c.call(ctx, http.MethodGet, "/api/capabilities/"+url.PathEscape(name), nil, &s)
	return s, err
}

// SetTraffic sets weight or mirror and blocks until every proxy serves it.
func (c *Client) SetTraffic(ctx context.Context, name string, request TrafficRequest) (capability.Status, error) {
	var s capability.Status
	err := c.call(ctx, http.MethodPut, "/api/capabilities/"+url.PathEscape(name)+"/traffic", request, &s)
	return s, err
}

// SetBreakers sets the operator's modes of a capability's breakers and blocks until
// every proxy serves them.
func (c *Client) SetBreakers(ctx context.Context, name string, modes map[capability.Side]capability.BreakerMode) (capability.Status, error) {
	var s capability.Status
	err := c.call(ctx, http.MethodPut, "/api/capabilities/"+url.PathEscape(name)+"/breakers", modes, &s)
	return s, err
}

// Switch makes a side the owner, reporting progress, and decodes the result.
func (c *Client) Switch(ctx context.Context, name string, request SwitchRequest, report func(capability.Progress), result any) error {
	return c.follow(ctx, "/api/capabilities/"+url.PathEscape(name)+"/switch", request, report, result)
}

// Data carries out start, pause, resume, verify, repair or reset, reporting progress,
// and decodes the result.
func (c *Client) Data(ctx context.Context, name, verb string, request DataRequest, report func(capability.Progress), result any) error {
	return c.follow(ctx, "/api/capabilities/"+url.PathEscape(name)+"/data/"+verb, request, report, result)
}

// Conflict returns the change at which the capability's streams have ended, with
// values of the rows; nil where none has.
func (c *Client) Conflict(ctx context.Context, name string) (*capability.Conflict, error) {
	var found *capability.Conflict
	err := c.call(ctx, http.MethodGet, "/api/capabilities/"+url.PathEscape(name)+"/data/conflict", nil, &found)
	return found, err
}

// Differences returns the rows that the capability's last verification has told of,
// with their values as they are now.
func (c *Client) Differences(ctx context.Context, name string) ([]capability.Difference, error) {
	var found []capability.Difference
	err := c.call(ctx, http.MethodGet, "/api/capabilities/"+url.PathEscape(name)+"/data/differences", nil, &found)
	return found, err
}

// Mark asks what a reader must wait for; see capability.Mark.
func (c *Client) Mark(ctx context.Context, name string) (capability.Mark, error) {
	var m capability.Mark
	err := c.call(ctx, http.MethodPost, "/api/capabilities/"+url.PathEscape(name)+"/mark", nil, &m)
	return m, err
}

// Ledger returns the last entries, newest last; all capabilities where name is
// empty.
func (c *Client) Ledger(ctx context.Context, name string, limit int) ([]capability.Entry, error) {
	var entries []capability.Entry
	query := url.Values{"capability": {name}, "limit": {strconv.Itoa(limit)}}
	err := c.call(ctx, http.MethodGet, "/api/ledger?"+query.Encode(), nil, &entries)
	return entries, err
}

// Serving asks a proxy what it serves of a capability; see the proxy's method of
// the same name.
func (c *Client) Serving(ctx context.Context, name string, revision uint64, idle bool, wait time.Duration) (capability.Serving, error) {
	var s capability.Serving
	query := url.Values{"capability": {name}, "revision": {strconv.FormatUint(revision, 10)}, "idle": {strconv.FormatBool(idle)}, "wait": {wait.String()}}
	err := c.call(ctx, http.MethodGet, "/proxy/serving?"+query.Encode(), nil, &s)
	return s, err
}

// Problems returns what is wrong with the documents now.
func (c *Client) Problems(ctx context.Context) ([]capability.Problem, error) {
	var problems []capability.Problem
	err := c.call(ctx, http.MethodGet, "/api/problems", nil, &problems)
	return problems, err
}

// Get reads any other resource of the API.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, into)
}

// Post sends a question to the API and reads the answer.
func (c *Client) Post(ctx context.Context, path string, body, into any) error {
	return c.call(ctx, http.MethodPost, path, body, into)
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	response, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end below
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of %s: %w", path, err)
	}
	_, err = io.Copy(io.Discard, response.Body) // or the connection is not used again
	return err
}

// follow reads a stream of progress to its last line.
func (c *Client) follow(ctx context.Context, path string, body any, report func(capability.Progress), result any) error {
	response, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // nothing is left to do about it
	d := json.NewDecoder(response.Body)
	for {
		var raw json.RawMessage
		last := final{Value: &raw}
		p := capability.Progress{Result: &last}
		if err := d.Decode(&p); err != nil {
			return fmt.Errorf("the connection was lost before the end (%w); what became of the command says: strangler status", err)
		}
		switch {
		case p.State == stateResult && p.Result != nil:
			return decodeResult(raw, result)
		case p.State == stateFailed && p.Step == "":
			return errors.Join(errors.New(p.Message), decodeResult(raw, result))
		}
		p.Result = nil
		report(p)
	}
}

func decodeResult(raw json.RawMessage, into any) error {
	if into == nil || len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return json.Unmarshal(raw, into)
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, err
	}
	request.Header.Set(actorHeader, c.actor)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close() //nolint:errcheck // the error is what counts
	var p Problem
	if json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(&p) != nil || p.Error == "" {
		p.Error = response.Status
	}
	if p.Mend != "" {
		p.Error += "; " + p.Mend
	}
	return nil, &refusedError{p.Error, response.StatusCode}
}
