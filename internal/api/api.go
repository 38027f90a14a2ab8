// Package api is the HTTP API of the admin address, and the Go client that the
// command line and the other process use.
//
// It translates: requests into calls of the controller and the proxy, their
// answers and progress into JSON. It decides nothing and keeps nothing. Whoever
// can reach the admin address may use all of it, so it belongs on a loopback or a
// private network. A browser there is no way in for the sites that it shows:
// requests that it sends for another site, or under a name that is not ours, are
// refused.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"strangler/controller"
)

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error string `json:"error"`
	Mend  string `json:"mend,omitempty"`
}

// actorHeader names who asks, for the ledger. It is a note, not a proof.
const actorHeader = "X-Strangler-Actor"

// maxBody bounds what the API reads of a request.
const maxBody = 1 << 20

// NewRouter returns a router that answers with a Problem where nobody else does.
func NewRouter() *mux.Router {
	router := mux.NewRouter()
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, Problem{Error: "there is no " + r.URL.Path + " at this process", Mend: elsewhere(r.URL.Path)})
	})
	router.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusMethodNotAllowed, Problem{Error: r.URL.Path + " does not take " + r.Method})
	})
	return router
}

// elsewhere says which process answers a path that this one does not.
func elsewhere(path string) string {
	switch {
	case strings.HasPrefix(path, "/api/"):
		return "a proxy alone has none: ask the admin address of the controller"
	case strings.HasPrefix(path, "/proxy/"):
		return "a controller alone has none: ask the admin address of a proxy"
	}
	return ""
}

func actor(r *http.Request) string {
	name := r.Header.Get(actorHeader)
	if name == "" || len(name) > 100 || strings.ContainsAny(name, "\r\n") {
		return "api"
	}
	return name
}

// answer writes a value, or an error with the status that fits it.
func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// The status is out before the body can fail; the client sees a cut answer.
	_ = json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, status int, err error) {
	problem(w, status, Problem{Error: err.Error()})
}

func problem(w http.ResponseWriter, status int, p Problem) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
}

func statusOf(err error) int {
	if errors.Is(err, controller.ErrUnknown) {
		return http.StatusNotFound
	}
	return http.StatusConflict
}

// decode reads a JSON body strictly; an empty one leaves the value as it is.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.ContentLength == 0 {
		return true
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("read request: %w", err))
		return false
	}
	return true
}
