package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"strangler/capability"
	"strangler/controller"
)

// RetireRequest asks for the end of a migration.
type RetireRequest struct {
	DryRun  bool                 `json:"dry_run,omitempty"`
	Observe time.Duration        `json:"observe_ns"` // for how long nobody may read the legacy tables
	Despite []capability.UseKind `json:"despite,omitempty"`
}

func (a control) retire(w http.ResponseWriter, r *http.Request) {
	c, _, ok := a.named(w, r)
	var request RetireRequest
	if !ok || !decode(w, r, &request) {
		return
	}
	for _, kind := range request.Despite {
		if _, err := capability.ParseUseKind(string(kind)); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
	}
	if request.Observe < time.Second {
		refuse(w, http.StatusBadRequest, errors.New("observe_ns is less than a second"))
		return
	}
	stream(w, func(report func(capability.Progress)) (any, error) {
		return c.Retire(r.Context(), controller.RetireOptions{DryRun: request.DryRun, Observe: request.Observe, Despite: request.Despite}, actor(r), report)
	})
}

// Retire ends a migration, reporting progress, and decodes the result.
func (c *Client) Retire(ctx context.Context, name string, request RetireRequest, report func(capability.Progress), result any) error {
	return c.follow(ctx, "/api/capabilities/"+url.PathEscape(name)+"/retire", request, report, result)
}
