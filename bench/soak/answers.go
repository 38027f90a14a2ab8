package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
)

// The headers of an exchange.
const (
	headerID    = "X-Soak-Id"    // which request this is; every answer repeats it
	headerAt    = "X-Soak-At"    // which piece of the content the body is
	headerSize  = "X-Soak-Size"  //
	headerCut   = "X-Soak-Cut"   // the client will break off; the upstream need not wonder
	headerSide  = "X-Soak-Side"  // of the upstream that answers
	headerSum   = "X-Soak-Sum"   // trailer: the body's hash
	headerProto = "X-Soak-Proto" // what the upstream was asked in
)

// answers is what every upstream does.
type answers struct {
	account  *account
	content  *content
	meetings *meetings
	ledger   *ledger
	waiting  atomic.Int64 // handlers and tunnels of streams that have not ended
}

// at makes the handler of one server.
func (a *answers) at(s *server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.answer(s, w, r) })
}

func (a *answers) answer(s *server, w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	id := r.Header.Get(headerID)
	a.ledger.enter(id, false)
	if since, late := s.late(); late {
		a.account.found("withdrawn", id, mismatch{"no request at an endpoint that was withdrawn", fmt.Sprintf("one at %s, %s after", s.name, since.Round(1e6))})
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		number, _ := strconv.ParseUint(strings.TrimPrefix(id, "t"), 10, 64) // of the matrix are others
		a.account.write(number, s.name)
	}
	h := w.Header()
	h.Set(headerID, id)
	h.Set(headerSide, s.side)
	h.Set(headerProto, r.Proto)
	switch path.Base(r.URL.Path) {
	case "early":
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case "trailers":
		a.trailers(w, r)
	case "reflect":
		a.reflect(w, r)
	case "events":
		a.events(w, r)
	case "socket":
		a.socket(w, r)
	case "wait":
		a.wait(w, r)
	case "Unary", "Stream", "Fail":
		a.rpc(w, r)
	default:
		a.echo(w, r)
	}
}

// asked reads which piece the request is about: in headers for a body, in the query for an answer.
func asked(r *http.Request) (piece, error) {
	at, size := r.Header.Get(headerAt), r.Header.Get(headerSize)
	if at == "" {
		at, size = r.URL.Query().Get("at"), r.URL.Query().Get("size")
	}
	var p piece
	var errs [2]error
	p.at, errs[0] = strconv.Atoi(at)
	p.size, errs[1] = strconv.Atoi(size)
	if err := errors.Join(errs[0], errs[1]); err != nil || p.at < 0 || p.size < 0 || p.size > most || p.at > most {
		return piece{}, fmt.Errorf("no piece: %q and %q", at, size)
	}
	return p, nil
}

// echo checks the body and gives it back, or the piece that a request without one asks for.
func (a *answers) echo(w http.ResponseWriter, r *http.Request) {
	p, err := asked(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Header.Get(headerAt) != "" {
		if err := a.content.compare(r.Body, p); err != nil {
			if r.Header.Get(headerCut) == "" {
				a.account.found("arrival", r.Header.Get(headerID), mismatch{"the body at the upstream", err.Error()})
			}
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	if r.URL.Query().Get("chunked") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(p.size))
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(a.content.of(p)) // the client compares
}

// trailers checks that the body's hash came behind it, and sends one back in the same way.
func (a *answers) trailers(w http.ResponseWriter, r *http.Request) {
	p, err := asked(r)
	if err == nil {
		err = a.content.compare(r.Body, p)
	}
	if err == nil {
		err = expect("trailer", sum(a.content.of(p)), r.Trailer.Get(headerSum))
	}
	if err != nil {
		a.account.found("arrival", r.Header.Get(headerID), err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Trailer", headerSum)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(a.content.of(p)) // the client compares
	w.Header().Set(headerSum, sum(a.content.of(p)))
}

func sum(of []byte) string {
	s := sha256.Sum256(of)
	return hex.EncodeToString(s[:])
}

// reflect tells what of a request arrived that has an unusual form.
func (a *answers) reflect(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s?%s many=%d drop=%d long=%d body=%s", r.Method, r.URL.EscapedPath(), r.URL.RawQuery,
		len(r.Header.Values("X-Many")), len(r.Header.Values("X-Drop")), len(r.Header.Get("X-Long")), body)
}

// wait answers when the client has gone away, which is to say never. That it went must be seen here.
func (a *answers) wait(w http.ResponseWriter, r *http.Request) {
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	<-ctx.Done()
	if r.Context().Err() == nil {
		a.account.found("gone", r.Header.Get(headerID), mismatch{"the upstream to see that the client went away", "nothing for " + patience.String()})
	}
	w.WriteHeader(http.StatusNoContent)
}
