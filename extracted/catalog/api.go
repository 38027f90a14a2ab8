package catalog

import (
	"net/http"

	"extracted/internal/answer"
	"extracted/internal/httpx"
)

// api wraps a call; what it returns is the body of a 200.
func (s *Service) api(call func(http.ResponseWriter, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := call(w, r)
		if err != nil {
			httpx.WriteError(w, answer.For(r, err, s.log))
			return
		}
		httpx.WriteJSON(w, http.StatusOK, body)
	})
}

// listing is a page of products; next is 0 on the last one.
type listing struct {
	Products []Product `json:"products"`
	Next     int64     `json:"next"`
}

func (s *Service) list(_ http.ResponseWriter, r *http.Request) (any, error) {
	after, err := httpx.QueryInt(r, "after", 0, 0, lastID)
	if err != nil {
		return nil, err
	}
	limit, err := httpx.QueryInt(r, "limit", pageSize, 1, maxPageSize)
	if err != nil {
		return nil, err
	}
	category := r.URL.Query().Get("category")
	if err := checkText("category", category); err != nil {
		return nil, err
	}
	found, next, err := listProducts(r.Context(), s.pool, category, after, limit)
	return listing{found, next}, err
}

func (s *Service) search(_ http.ResponseWriter, r *http.Request) (any, error) {
	found, err := searchProducts(r.Context(), s.pool, r.URL.Query().Get("q"), pageSize)
	return listing{Products: found}, err
}

func (s *Service) product(_ http.ResponseWriter, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	return readProduct(r.Context(), s.pool, id)
}

func (s *Service) change(w http.ResponseWriter, r *http.Request) (any, error) {
	if !httpx.Authorized(r, s.token) {
		return nil, httpx.Fail(http.StatusUnauthorized, "service token missing or wrong")
	}
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Name       string `json:"name"`
		PriceCents *int64 `json:"price_cents"`
	}
	if err := httpx.ReadJSON(w, r, &body); err != nil {
		return nil, err
	}
	if body.PriceCents == nil {
		return nil, httpx.Fail(http.StatusBadRequest, "price_cents is missing")
	}
	return changeProduct(r.Context(), s.pool, id, body.Name, *body.PriceCents)
}
