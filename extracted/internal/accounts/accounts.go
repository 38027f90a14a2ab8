// Package accounts asks the accounts module, through the gateway, who a session belongs to. It owns the
// time limit and a short memory of answers; what a service does without an answer is the service's business.
package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"extracted/internal/httpx"
)

// Customer is whoever is logged in.
type Customer struct {
	ID    int64  `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
}

// ErrNobody means that the request carries no session, or one that accounts does not know.
var ErrNobody = errors.New("not logged in")

// ErrUnavailable means that accounts could not be asked in time; nothing is known about the session.
var ErrUnavailable = errors.New("accounts cannot be asked right now")

const (
	askTimes   = 2               // a question can be lost in a moment of load, and asking twice harms nobody
	knownFor   = 5 * time.Second // how long a logout may go unnoticed here
	nobodyFor  = time.Second     // short, so that somebody who has just logged in is not turned away
	maxToken   = 256
	cookieName = "session"
)

// Directory resolves sessions. It is safe for concurrent use.
type Directory struct {
	client   *http.Client
	url      string
	patience time.Duration
	cache    *cache
}

// New returns a Directory that asks the given gateway and waits so long for one answer. Who cannot do without
// the answer waits longer: a limit that load alone exceeds turns a slow moment into refusals, and what was
// asked in vain is work that made it slower.
func New(client *http.Client, gateway string, patience time.Duration) *Directory {
	return &Directory{client: client, url: gateway + "/api/accounts/me", patience: patience, cache: newCache(time.Now)}
}

// Customer tells who sent r, by its session cookie and by nothing else: a header that names a user could be
// written by anybody who reaches this process. It blocks for at most the Directory's patience, and as long again where
// the first question had no answer. The error is ErrNobody or ErrUnavailable.
func (d *Directory) Customer(r *http.Request) (Customer, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || cookie.Value == "" || len(cookie.Value) > maxToken {
		return Customer{}, ErrNobody
	}
	return d.cache.get(r.Context(), cookie.Value, func(ctx context.Context) (Customer, error) {
		customer, err := d.ask(ctx, cookie.Value)
		for n := 1; n < askTimes && errors.Is(err, ErrUnavailable); n++ {
			customer, err = d.ask(ctx, cookie.Value)
		}
		return customer, err
	})
}

// ask makes the call. It passes on the session cookie alone, so that no other cookie of the client can
// mean anything to accounts on this path.
func (d *Directory) ask(ctx context.Context, token string) (Customer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	header := http.Header{"Cookie": {(&http.Cookie{Name: cookieName, Value: token}).String()}}
	answer, err := httpx.Call(ctx, d.client, http.MethodGet, d.url, header, nil)
	switch {
	case err != nil:
		return Customer{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case answer.Status == http.StatusUnauthorized:
		return Customer{}, ErrNobody
	case answer.Status != http.StatusOK:
		return Customer{}, fmt.Errorf("%w: status %d", ErrUnavailable, answer.Status)
	}
	var c Customer
	if err := json.Unmarshal(answer.Body, &c); err != nil || c.ID <= 0 {
		return Customer{}, fmt.Errorf("%w: answer without a customer", ErrUnavailable)
	}
	return c, nil
}
