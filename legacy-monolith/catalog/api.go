package catalog

import (
	"net/http"

	"github.com/gorilla/mux"

	"legacy-monolith/web"
)

const (
	pageSize    = 20
	maxPageSize = 100
)

type handlers struct{ catalog *Service }

// Routes adds the module's API and pages.
func (s *Service) Routes(r *mux.Router, site *web.Site) {
	h := handlers{catalog: s}
	r.Handle("/api/catalog/products", site.API(h.list)).Methods(http.MethodGet)
	r.Handle("/api/catalog/products/{id:[0-9]+}", site.API(h.product)).Methods(http.MethodGet)
	r.Handle("/api/catalog/products/{id:[0-9]+}", site.ServiceAPI(h.change)).Methods(http.MethodPut)
	r.Handle("/api/catalog/search", site.API(h.search)).Methods(http.MethodGet)

	r.Handle("/", site.Page(h.window)).Methods(http.MethodGet)
	r.Handle("/products/{id:[0-9]+}", site.Page(h.productPage)).Methods(http.MethodGet)
}

type listing struct {
	Products []Product `json:"products"`
	Next     int64     `json:"next"`
}

func (h handlers) list(w http.ResponseWriter, r *http.Request) error {
	after, err := web.QueryInt(r, "after", 0, 0, 1<<62)
	if err != nil {
		return err
	}
	limit, err := web.QueryInt(r, "limit", pageSize, 1, maxPageSize)
	if err != nil {
		return err
	}
	products, next, err := h.catalog.List(r.Context(), r.URL.Query().Get("category"), after, limit)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, listing{Products: products, Next: next})
}

func (h handlers) search(w http.ResponseWriter, r *http.Request) error {
	products, err := h.catalog.Search(r.Context(), r.URL.Query().Get("q"), pageSize)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, listing{Products: products})
}

func (h handlers) product(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	product, err := h.catalog.Product(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, product)
}

func (h handlers) change(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	var in struct {
		Name       string `json:"name"`
		PriceCents *int64 `json:"price_cents"`
	}
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	if in.PriceCents == nil {
		return web.Refuse(http.StatusBadRequest, "price_cents is missing")
	}
	product, err := h.catalog.Change(r.Context(), id, in.Name, *in.PriceCents)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, product)
}
