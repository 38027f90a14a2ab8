package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// opening takes one capability's breaker from closed to open and back, by failures that are exactly as many as it takes.
// In the rest of the matrix no breaker opens.
const (
	openingName    = "opening"
	openingBreaker = "ratio: 1, requests: 6, window: 30s, open_for: 500ms, trials: 1"
	openingAfter   = 6
)

// open runs reads, or writes, into a breaker: it opens with the last failure it takes and not before, nothing gets
// through while it is open, and once the upstream is well it closes by itself.
func (m *matrix) open(ctx context.Context, s shape) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	fails := "resets at once"
	for n := 1; n <= openingAfter; n++ {
		if state, err := m.strangler.state(ctx, openingName); err != nil || state != "closed" {
			return mismatch{fmt.Sprintf("a closed breaker after %d failures", n-1), fmt.Sprint(state, err)}
		}
		if _, err := m.into(ctx, s, fails, http.StatusBadGateway, 1); err != nil {
			return fmt.Errorf("failure %d: %w", n, err)
		}
	}
	if state, err := m.strangler.state(ctx, openingName); err != nil || state != "open" {
		return mismatch{fmt.Sprintf("an open breaker after %d failures", openingAfter), fmt.Sprint(state, err)}
	}
	h, err := m.into(ctx, s, fails, http.StatusServiceUnavailable, 0)
	if err != nil {
		return fmt.Errorf("past the open breaker: %w", err)
	}
	if h.Get("Retry-After") == "" {
		return mismatch{"Retry-After on a 503 of the breaker", "none"}
	}
	recovering, stop := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no recovery within %s", patience))
	defer stop()
	if err := eventually(recovering, m.strangler.process.Done(), func() error {
		_, err := m.into(ctx, s, "", http.StatusOK, 1)
		return err
	}); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	state, err := m.strangler.state(ctx, openingName)
	return errors.Join(err, expect("the breaker after a trial that went well:", "closed", state))
}

// into sends one request, and expects a status and a number of arrivals.
func (m *matrix) into(ctx context.Context, s shape, fault string, status, arrive int) (http.Header, error) {
	id := fmt.Sprintf("%s%d", matrixMark, m.number.Add(1))
	var body io.Reader
	if s.body > 0 {
		body = strings.NewReader(strings.Repeat("x", s.body))
	}
	r := m.traffic.request(ctx, &call{id: id, user: id}, s.method, "/"+openingName+"/echo", body)
	if fault != "" {
		r.Header.Set(headerFault, fault)
	}
	started := time.Now()
	res, err := m.traffic.alone(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	err = errors.Join(err, expect("status", status, res.StatusCode), expect("arrivals", arrivals{failing: arrive}, m.ledger.of(id)))
	if fault != "" || err == nil {
		m.account.count("opening", id, time.Since(started), err) // a 503 while it recovers is as it should be
	}
	return res.Header, err
}

// state is that of a capability's extracted side.
func (s *strangler) state(ctx context.Context, capability string) (string, error) {
	var all []struct{ Capability, Side, State string }
	if err := s.decode(ctx, "/proxy/breakers", &all); err != nil {
		return "", err
	}
	for _, b := range all {
		if b.Capability == capability && b.Side != legacy {
			return b.State, nil
		}
	}
	return "", fmt.Errorf("no breaker of %s", capability)
}
