package stock

import (
	"net/http"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"legacy-monolith/database"
	"legacy-monolith/web"
)

// Service answers other services, one transaction per request.
type Service struct {
	pool   *pgxpool.Pool
	ledger Ledger
}

// New makes a Service on the shop's database.
func New(pool *pgxpool.Pool) *Service { return &Service{pool: pool} }

// Routes adds the module's API; it has no pages.
func (s *Service) Routes(r *mux.Router, site *web.Site) {
	r.Handle("/api/stock/take", site.ServiceAPI(s.take)).Methods(http.MethodPost)
	r.Handle("/api/stock/return", site.ServiceAPI(s.giveBack)).Methods(http.MethodPost)
}

type answer struct {
	OrderID int64  `json:"order_id"`
	Status  string `json:"status"`
}

func (s *Service) take(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		OrderID int64 `json:"order_id"`
		Lines   []struct {
			ProductID int64 `json:"product_id"`
			Quantity  int64 `json:"quantity"`
		} `json:"lines"`
	}
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	quantities := make(map[int64]int64, len(in.Lines))
	for _, line := range in.Lines {
		if line.Quantity <= 0 || line.Quantity > maxQuantity {
			return web.Refuse(http.StatusBadRequest, "quantity is out of range")
		}
		quantities[line.ProductID] += line.Quantity
	}
	if in.OrderID <= 0 || len(quantities) == 0 {
		return web.Refuse(http.StatusBadRequest, "order_id or lines are missing")
	}
	err := database.InTx(r.Context(), s.pool, func(tx pgx.Tx) error {
		return s.ledger.Take(r.Context(), tx, in.OrderID, quantities)
	})
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, answer{OrderID: in.OrderID, Status: "taken"})
}

// maxQuantity keeps sums of a request far from overflow.
const maxQuantity = 1 << 31

func (s *Service) giveBack(w http.ResponseWriter, r *http.Request) error {
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
		return s.ledger.Return(r.Context(), tx, in.OrderID)
	})
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, answer{OrderID: in.OrderID, Status: "returned"})
}
