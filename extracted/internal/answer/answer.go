// Package answer turns the errors of the extracted services into what a client is told: the one place that
// knows which refusals are worth another try.
package answer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"extracted/internal/accounts"
	"extracted/internal/database"
	"extracted/internal/httpx"
)

// For returns the answer to err. What the client cannot have caused is logged here, once, and stays out of
// the answer.
func For(r *http.Request, err error, log *slog.Logger) *httpx.Error {
	var known *httpx.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, accounts.ErrNobody) {
		return httpx.Fail(http.StatusUnauthorized, "not signed in")
	}
	trail := httpx.TrailOf(r.Context())
	if errors.Is(err, accounts.ErrUnavailable) {
		log.Warn("accounts not asked", "error", err, "trail", trail)
		return httpx.Fail(http.StatusServiceUnavailable, "%s", accounts.ErrUnavailable)
	}
	if e, ok := Refused(err); ok {
		log.Warn("database refused", "error", err, "trail", trail)
		return e
	}
	if r.Context().Err() == nil {
		log.Error("request failed", "error", err, "trail", trail)
	}
	return httpx.Fail(http.StatusInternalServerError, "internal error")
}

// Refused returns the answer to a refusal of the database, and reports whether err is one.
func Refused(err error) (*httpx.Error, bool) {
	message, ok := database.Refusal(err)
	if !ok {
		return nil, false
	}
	e := httpx.Fail(http.StatusServiceUnavailable, "%s", message)
	e.Gate = database.IsGateRefused(err)
	return e, true
}

// NotFound and NotAllowed serve what no route of a service claims.
var (
	NotFound   = constant(httpx.Fail(http.StatusNotFound, "no such page"))
	NotAllowed = constant(httpx.Fail(http.StatusMethodNotAllowed, "method not allowed"))
)

func constant(e *httpx.Error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { httpx.WriteError(w, e) })
}

// Pinger is a database that can be asked whether it is there.
type Pinger interface {
	Ping(ctx context.Context) error
}

// Health serves /healthz: 200 while the database answers.
func Health(db Pinger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := db.Ping(r.Context()); err != nil {
			httpx.WriteError(w, httpx.Fail(http.StatusServiceUnavailable, "database does not answer"))
			return
		}
		httpx.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
}
