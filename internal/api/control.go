package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"strangler/capability"
	"strangler/controller"
)

// trafficTimeout bounds how long a weight may take to be in effect everywhere.
const trafficTimeout = 10 * time.Second

// Control adds the controller's part of the API to the router. It answers 503
// with the error of active while no controller leads in this process: it says why,
// and who does if that is known. Commands that change
// an owner go on when their client goes away: half a switch helps nobody.
func Control(router *mux.Router, active func() (*controller.Controller, error)) {
	a := control{active}
	router.HandleFunc("/api/capabilities", a.list).Methods(http.MethodGet)
	router.HandleFunc("/api/capabilities/{capability}", a.get).Methods(http.MethodGet)
	router.HandleFunc("/api/capabilities/{capability}/traffic", a.traffic).Methods(http.MethodPut)
	router.HandleFunc("/api/capabilities/{capability}/breakers", a.breakers).Methods(http.MethodPut)
	router.HandleFunc("/api/capabilities/{capability}/switch", a.change).Methods(http.MethodPost)
	router.HandleFunc("/api/capabilities/{capability}/mark", a.mark).Methods(http.MethodPost)
	router.HandleFunc("/api/capabilities/{capability}/data/{verb:start|pause|resume|verify|repair|reset}", a.data).Methods(http.MethodPost)
	router.HandleFunc("/api/capabilities/{capability}/data/conflict", a.conflict).Methods(http.MethodGet)
	router.HandleFunc("/api/capabilities/{capability}/data/differences", a.differences).Methods(http.MethodGet)
	router.HandleFunc("/api/capabilities/{capability}/retire", a.retire).Methods(http.MethodPost)
	router.HandleFunc("/api/ledger", a.ledger).Methods(http.MethodGet)
	router.HandleFunc("/api/problems", a.problems).Methods(http.MethodGet)
}

type control struct {
	active func() (*controller.Controller, error)
}

// ready returns the active controller once it has read the documents.
func (a control) ready(w http.ResponseWriter, r *http.Request) (*controller.Controller, bool) {
	c, err := a.active()
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return nil, false
	}
	select {
	case <-c.Ready():
		return c, true
	case <-r.Context().Done():
		return nil, false
	}
}

// named returns the capability in the path and the problems of the documents.
func (a control) named(w http.ResponseWriter, r *http.Request) (*controller.Reconciler, []capability.Problem, bool) {
	c, ok := a.ready(w, r)
	if !ok {
		return nil, nil, false
	}
	named, err := c.Capability(mux.Vars(r)["capability"])
	if err != nil {
		unknown(w, c, err)
		return nil, nil, false
	}
	return named, c.Problems(), true
}

// unknown refuses a name, with those that there are.
func unknown(w http.ResponseWriter, c *controller.Controller, err error) {
	p := Problem{Error: err.Error()}
	if names := c.Names(); len(names) > 0 {
		slices.Sort(names)
		p.Mend = "there are: " + strings.Join(names, ", ")
	}
	problem(w, http.StatusNotFound, p)
}

func (a control) list(w http.ResponseWriter, r *http.Request) {
	c, ok := a.ready(w, r)
	if !ok {
		return
	}
	names := c.Names()
	slices.Sort(names)
	all := make([]capability.Status, 0, len(names))
	for _, name := range names {
		if named, err := c.Capability(name); err == nil {
			all = append(all, named.Status(r.Context(), c.Problems()))
		}
	}
	answer(w, all, nil)
}

func (a control) get(w http.ResponseWriter, r *http.Request) {
	if c, problems, ok := a.named(w, r); ok {
		answer(w, c.Status(r.Context(), problems), nil)
	}
}

// TrafficRequest asks for a weight, a mirror, or both, in basis points.
type TrafficRequest struct {
	Weight *capability.Weight `json:"weight,omitempty"`
	Mirror *capability.Weight `json:"mirror,omitempty"`
}

func (a control) traffic(w http.ResponseWriter, r *http.Request) {
	c, problems, ok := a.named(w, r)
	var request TrafficRequest
	if !ok || !decode(w, r, &request) {
		return
	}
	for _, share := range []*capability.Weight{request.Weight, request.Mirror} {
		if share != nil && (*share < 0 || *share > capability.Whole) {
			refuse(w, http.StatusBadRequest, fmt.Errorf("a weight of %d basis points is not between 0 and %d", *share, capability.Whole))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), trafficTimeout)
	defer cancel()
	if err := c.SetTraffic(ctx, capability.Edit{Weight: request.Weight, Mirror: request.Mirror}, actor(r)); err != nil {
		answer(w, nil, err)
		return
	}
	answer(w, c.Status(r.Context(), problems), nil)
}

func (a control) breakers(w http.ResponseWriter, r *http.Request) {
	c, problems, ok := a.named(w, r)
	var modes map[capability.Side]capability.BreakerMode
	if !ok || !decode(w, r, &modes) {
		return
	}
	for side, mode := range modes {
		_, noSide := capability.ParseSide(string(side))
		_, noMode := capability.ParseBreakerMode(string(mode))
		if err := errors.Join(noSide, noMode); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), trafficTimeout)
	defer cancel()
	if err := c.SetBreakers(ctx, modes, actor(r)); err != nil {
		answer(w, nil, err)
		return
	}
	answer(w, c.Status(r.Context(), problems), nil)
}

// SwitchRequest asks for a new owner.
type SwitchRequest struct {
	To       capability.Side `json:"to"`
	DryRun   bool            `json:"dry_run,omitempty"`
	Rehearse bool            `json:"rehearse,omitempty"`
	Accept   bool            `json:"accept_refused,omitempty"`
	Gap      time.Duration   `json:"gap_ns,omitempty"` // longest that writes may wait; 0: as configured
}

func (a control) change(w http.ResponseWriter, r *http.Request) {
	c, _, ok := a.named(w, r)
	var request SwitchRequest
	if !ok || !decode(w, r, &request) {
		return
	}
	if _, err := capability.ParseSide(string(request.To)); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	options := controller.SwitchOptions{Gap: request.Gap, Rehearse: request.Rehearse, AcceptRefused: request.Accept}
	stream(w, func(report func(capability.Progress)) (any, error) {
		if request.DryRun {
			return c.DryRun(r.Context(), request.To, options)
		}
		return c.Switch(context.WithoutCancel(r.Context()), request.To, options, actor(r), report)
	})
}

func (a control) mark(w http.ResponseWriter, r *http.Request) {
	if c, _, ok := a.named(w, r); ok {
		mark, err := c.Mark(r.Context())
		answer(w, mark, err)
	}
}

// DataRequest says how a data command is to be carried out.
type DataRequest struct {
	DryRun bool `json:"dry_run,omitempty"` // of a reset
}

func (a control) data(w http.ResponseWriter, r *http.Request) {
	c, _, ok := a.named(w, r)
	var request DataRequest
	if !ok || !decode(w, r, &request) {
		return
	}
	if verb := mux.Vars(r)["verb"]; request.DryRun && verb != "reset" {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%s has no dry run: it destroys nothing", verb))
		return
	}
	ctx := r.Context()
	stream(w, func(report func(capability.Progress)) (any, error) {
		switch mux.Vars(r)["verb"] {
		case "start", "resume":
			return nil, a.reach(ctx, c, capability.DataRunning, capability.PhaseFollowing, actor(r), report)
		case "pause":
			return nil, a.reach(ctx, c, capability.DataPaused, capability.PhasePaused, actor(r), report)
		case "verify":
			return c.Verify(ctx, actor(r), report)
		case "repair":
			return c.Repair(ctx, actor(r), report)
		default:
			return nil, c.Reset(context.WithoutCancel(ctx), request.DryRun, actor(r), report)
		}
	})
}

// conflict answers with values of rows, and with null where there is no conflict.
func (a control) conflict(w http.ResponseWriter, r *http.Request) {
	c, _, ok := a.named(w, r)
	if !ok {
		return
	}
	found, is, err := c.Conflict(r.Context())
	if !is {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, found, err)
}

// differences answers with values of rows.
func (a control) differences(w http.ResponseWriter, r *http.Request) {
	if c, _, ok := a.named(w, r); ok {
		found, err := c.Differences(r.Context())
		w.Header().Set("Cache-Control", "no-store")
		answer(w, append([]capability.Difference{}, found...), err)
	}
}

// reach sets the wanted state of the data and follows it there.
func (a control) reach(ctx context.Context, c *controller.Reconciler, state capability.DataState, phase capability.MovePhase, who string, report func(capability.Progress)) error {
	if err := c.SetData(ctx, state, who); err != nil {
		return err
	}
	return c.WaitData(ctx, phase, report)
}

// problems answers with what is wrong with the documents, those included that
// name no capability yet and so stand in no status.
func (a control) problems(w http.ResponseWriter, r *http.Request) {
	if c, ok := a.ready(w, r); ok {
		answer(w, append([]capability.Problem{}, c.Problems()...), nil)
	}
}

func (a control) ledger(w http.ResponseWriter, r *http.Request) {
	c, ok := a.ready(w, r)
	if !ok {
		return
	}
	query, limit := r.URL.Query(), 100
	if text := query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit <= 0 {
			refuse(w, http.StatusBadRequest, fmt.Errorf("limit: %q is no whole number of 1 or more", text))
			return
		}
	}
	name := query.Get("capability")
	entries, err := c.Ledger(r.Context(), name, limit)
	if _, missing := c.Capability(name); err == nil && name != "" && len(entries) == 0 && missing != nil {
		unknown(w, c, missing) // one that had a document once has its entries
		return
	}
	answer(w, append([]capability.Entry{}, entries...), err)
}
