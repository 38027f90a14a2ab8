package billing

import (
	"net/http"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"

	"legacy-monolith/database"
	"legacy-monolith/web"
)

// Routes adds the module's API; it has no pages.
func (s *Service) Routes(r *mux.Router, site *web.Site) {
	r.Handle("/api/billing/charges", site.ServiceAPI(s.postCharge)).Methods(http.MethodPost)
	r.Handle("/api/billing/refunds", site.ServiceAPI(s.postRefund)).Methods(http.MethodPost)
	r.Handle("/api/billing/payments", site.CustomerAPI(s.getPayments)).Methods(http.MethodGet)
	r.Handle("/api/billing/invoices", site.CustomerAPI(s.getInvoices)).Methods(http.MethodGet)
	r.Handle("/api/billing/payments/{id:[0-9]+}/refund", site.CustomerAPI(s.postOwnRefund)).Methods(http.MethodPost)
}

type answer struct {
	OrderID int64  `json:"order_id"`
	Status  string `json:"status"`
}

func (s *Service) postCharge(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		OrderID     int64 `json:"order_id"`
		CustomerID  int64 `json:"customer_id"`
		AmountCents int64 `json:"amount_cents"`
	}
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	if in.OrderID <= 0 || in.CustomerID <= 0 || in.AmountCents < 0 {
		return web.Refuse(http.StatusBadRequest, "order_id, customer_id or amount_cents is missing or negative")
	}
	status := http.StatusOK
	err := database.InTx(r.Context(), s.pool, func(tx pgx.Tx) error {
		created, err := s.ledger.charge(r.Context(), tx, in.OrderID, in.CustomerID, in.AmountCents)
		if created {
			status = http.StatusCreated
		}
		return err
	})
	if err != nil {
		return err
	}
	return web.WriteJSON(w, status, answer{OrderID: in.OrderID, Status: charged})
}

func (s *Service) postRefund(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		OrderID int64 `json:"order_id"`
	}
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	if in.OrderID <= 0 {
		return web.Refuse(http.StatusBadRequest, "order_id is missing")
	}
	err := database.InTx(r.Context(), s.pool, func(tx pgx.Tx) error {
		return s.ledger.Refund(r.Context(), tx, in.OrderID)
	})
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, answer{OrderID: in.OrderID, Status: refunded})
}

func (s *Service) getPayments(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	payments, err := s.Payments(r.Context(), v.ID)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string][]Payment{"payments": payments})
}

func (s *Service) getInvoices(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	invoices, err := s.Invoices(r.Context(), v.ID)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string][]Invoice{"invoices": invoices})
}

func (s *Service) postOwnRefund(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	payment, err := s.RefundOwn(r.Context(), v.ID, id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, payment)
}
