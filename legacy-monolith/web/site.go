// Package web is the thin layer between the modules and net/http: who is asking,
// how errors become answers, how pages are framed. It knows no module and no
// table; modules give it handlers that return an error.
package web

import (
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
)

// ServedBy is the value of X-Served-By on every answer.
const ServedBy = "monolith"

// Visitor is the customer behind a request; the zero Visitor is nobody.
type Visitor struct {
	ID    int64
	Email string
	Name  string
}

// SignedIn says whether the visitor is known.
func (v Visitor) SignedIn() bool { return v.ID != 0 }

// Visitors finds out who is asking. Nobody is no error.
type Visitors interface {
	Visitor(r *http.Request) (Visitor, error)
}

// Site turns the modules' functions into handlers.
type Site struct {
	log      *slog.Logger
	visitors Visitors
	token    string
}

// NewSite makes a Site. With an empty token every service route is refused.
func NewSite(log *slog.Logger, visitors Visitors, serviceToken string) *Site {
	return &Site{log: log, visitors: visitors, token: serviceToken}
}

// API serves f; its errors are answered as {"error": …}.
func (s *Site) API(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			s.failJSON(w, r, err)
		}
	})
}

// CustomerAPI is API for signed-in customers; anybody else gets 401.
func (s *Site) CustomerAPI(f func(w http.ResponseWriter, r *http.Request, v Visitor) error) http.Handler {
	return s.API(func(w http.ResponseWriter, r *http.Request) error {
		visitor, err := s.visitors.Visitor(r)
		if err != nil {
			return err
		}
		if !visitor.SignedIn() {
			return Refuse(http.StatusUnauthorized, "not signed in")
		}
		return f(w, r, visitor)
	})
}

// ServiceAPI is API for other services, which carry the service token as bearer.
func (s *Site) ServiceAPI(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return s.API(func(w http.ResponseWriter, r *http.Request) error {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if s.token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
			return Refuse(http.StatusUnauthorized, "service token missing or wrong")
		}
		return f(w, r)
	})
}

// Page serves f to everybody; its errors are answered as a page.
func (s *Site) Page(f func(w http.ResponseWriter, r *http.Request, v Visitor) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visitor, err := s.visitors.Visitor(r)
		if err == nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			err = f(w, r, visitor)
		}
		if err != nil {
			s.failPage(w, r, visitor, err)
		}
	})
}

// CustomerPage is Page for signed-in customers; anybody else is sent to /login
// and comes back afterwards.
func (s *Site) CustomerPage(f func(w http.ResponseWriter, r *http.Request, v Visitor) error) http.Handler {
	return s.Page(func(w http.ResponseWriter, r *http.Request, v Visitor) error {
		if v.SignedIn() {
			return f(w, r, v)
		}
		back := r.URL.RequestURI()
		if r.Method != http.MethodGet {
			back = "/"
		}
		http.Redirect(w, r, "/login?next="+url.QueryEscape(back), http.StatusSeeOther)
		return nil
	})
}

func (s *Site) failJSON(w http.ResponseWriter, r *http.Request, err error) {
	status, message := classify(r.Context(), err)
	s.record(r, status, err)
	retryAfter(w, status, err)
	if err := WriteJSON(w, status, map[string]string{"error": message}); err != nil {
		s.log.DebugContext(r.Context(), "answer not delivered", "error", err)
	}
}

func (s *Site) failPage(w http.ResponseWriter, r *http.Request, v Visitor, err error) {
	status, message := classify(r.Context(), err)
	s.record(r, status, err)
	retryAfter(w, status, err)
	if err := Render(w, status, v, errorPage, http.StatusText(status), message); err != nil {
		s.log.DebugContext(r.Context(), "answer not delivered", "error", err)
	}
}

// record logs what an operator must see: faults and refused writes, not refusals
// that are ordinary answers.
func (s *Site) record(r *http.Request, status int, err error) {
	switch {
	case status == http.StatusServiceUnavailable:
		s.log.WarnContext(r.Context(), "request refused", "status", status, "error", err)
	case status >= http.StatusInternalServerError:
		s.log.ErrorContext(r.Context(), "request failed", "status", status, "error", err)
	}
}
