package orders

import (
	"net/http"

	"github.com/gorilla/mux"

	"legacy-monolith/web"
)

type handlers struct{ orders *Service }

// Routes adds the module's API and pages.
func (s *Service) Routes(r *mux.Router, site *web.Site) {
	h := handlers{orders: s}
	api := r.PathPrefix("/api/orders").Subrouter()
	api.Handle("", site.CustomerAPI(h.list)).Methods(http.MethodGet)
	api.Handle("/{id:[0-9]+}", site.CustomerAPI(h.order)).Methods(http.MethodGet)
	api.Handle("/cart", site.CustomerAPI(h.cart)).Methods(http.MethodGet)
	api.Handle("/cart/items/{product:[0-9]+}", site.CustomerAPI(h.setItem)).Methods(http.MethodPut)
	api.Handle("/checkout", site.CustomerAPI(h.checkout)).Methods(http.MethodPost)
	api.Handle("/{id:[0-9]+}", site.CustomerAPI(h.change)).Methods(http.MethodPut)
	api.Handle("/{id:[0-9]+}", site.CustomerAPI(h.cancel)).Methods(http.MethodDelete)
	api.Handle("/{id:[0-9]+}/refunded", site.ServiceAPI(h.refunded)).Methods(http.MethodPost)
	api.Handle("/activity", site.CustomerAPI(h.activity)).Methods(http.MethodGet)

	r.Handle("/cart", site.CustomerPage(h.cartPage)).Methods(http.MethodGet)
	r.Handle("/cart/items", site.CustomerPage(h.itemForm)).Methods(http.MethodPost)
	r.Handle("/cart/checkout", site.CustomerPage(h.checkoutForm)).Methods(http.MethodPost)
	r.Handle("/orders", site.CustomerPage(h.listPage)).Methods(http.MethodGet)
	r.Handle("/orders/{id:[0-9]+}", site.CustomerPage(h.orderPage)).Methods(http.MethodGet)
	r.Handle("/orders/{id:[0-9]+}/note", site.CustomerPage(h.noteForm)).Methods(http.MethodPost)
	r.Handle("/orders/{id:[0-9]+}/cancel", site.CustomerPage(h.cancelForm)).Methods(http.MethodPost)
}

func (h handlers) list(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	limit, err := web.QueryInt(r, "limit", 20, 1, 100)
	if err != nil {
		return err
	}
	orders, err := h.orders.Orders(r.Context(), v.ID, limit)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string][]Order{"orders": orders})
}

func (h handlers) order(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	order, err := h.orders.Order(r.Context(), v.ID, id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, order)
}

func (h handlers) cart(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	cart, err := h.orders.Cart(r.Context(), v.ID)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, cart)
}

func (h handlers) setItem(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	product, err := web.PathID(r, "product")
	if err != nil {
		return err
	}
	var in struct {
		Quantity *int   `json:"quantity"`
		Ref      string `json:"ref"`
	}
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	if in.Quantity == nil {
		return web.Refuse(http.StatusBadRequest, "quantity is missing")
	}
	if err := h.orders.SetItem(r.Context(), v.ID, product, *in.Quantity, in.Ref); err != nil {
		return err
	}
	return h.cart(w, r, v)
}

func (h handlers) checkout(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	var in struct{ Ref, Note string }
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	order, err := h.orders.Checkout(r.Context(), v.ID, in.Ref, in.Note)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, order)
}

func (h handlers) change(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	var in struct{ Ref, Note string }
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	order, err := h.orders.ChangeNote(r.Context(), v.ID, id, in.Note, in.Ref)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, order)
}

func (h handlers) cancel(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	order, err := h.orders.Cancel(r.Context(), v.ID, id, r.URL.Query().Get("ref"))
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, order)
}

func (h handlers) refunded(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	order, err := h.orders.Refunded(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, order)
}

func (h handlers) activity(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	activity, err := h.orders.Activity(r.Context(), v.ID)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, activity)
}
