package orders

import (
	"net/http"
	"strconv"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"

	"extracted/internal/accounts"
	"extracted/internal/answer"
	"extracted/internal/httpx"
)

// Handler serves the API, the pages and /healthz.
func (s *Service) Handler() http.Handler {
	r := mux.NewRouter()
	r.Handle("/healthz", answer.Health(s.pool)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/api/orders", s.customer(s.list)).Methods(http.MethodGet)
	r.Handle("/api/orders/activity", s.customer(s.activity)).Methods(http.MethodGet)
	r.Handle("/api/orders/cart", s.customer(s.cart)).Methods(http.MethodGet)
	r.Handle("/api/orders/cart/items/{product:[0-9]+}", s.customer(s.setItem)).Methods(http.MethodPut)
	r.Handle("/api/orders/checkout", s.customer(s.checkout)).Methods(http.MethodPost)
	r.Handle("/api/orders/{id:[0-9]+}", s.customer(s.get)).Methods(http.MethodGet)
	r.Handle("/api/orders/{id:[0-9]+}", s.customer(s.change)).Methods(http.MethodPut)
	r.Handle("/api/orders/{id:[0-9]+}", s.customer(s.cancel)).Methods(http.MethodDelete)
	r.HandleFunc("/api/orders/{id:[0-9]+}/refunded", s.refunded).Methods(http.MethodPost)
	s.routePages(r)
	r.NotFoundHandler, r.MethodNotAllowedHandler = answer.NotFound, answer.NotAllowed
	return httpx.Wrap(r, "orders", s.log)
}

// reply is the success of an API call.
type reply struct {
	status int
	body   any
}

// customer wraps a call that a logged-in customer makes.
func (s *Service) customer(call func(http.ResponseWriter, *http.Request, accounts.Customer) (reply, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.accounts.Customer(r)
		var done reply
		if err == nil {
			done, err = call(w, r, who)
		}
		if err != nil {
			httpx.WriteError(w, answer.For(r, err, s.log))
			return
		}
		httpx.WriteJSON(w, done.status, done.body)
	})
}

func (s *Service) list(_ http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	limit, err := httpx.QueryInt(r, "limit", 20, 1, 100)
	if err != nil {
		return reply{}, err
	}
	found, err := listOrders(r.Context(), s.pool, who.ID, limit)
	return reply{http.StatusOK, map[string]any{"orders": found}}, err
}

func (s *Service) get(_ http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return reply{}, err
	}
	order, err := ownOrder(r.Context(), s.pool, who.ID, id)
	return reply{http.StatusOK, order}, err
}

func (s *Service) activity(_ http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	a, err := readActivity(r.Context(), s.pool, who.ID)
	return reply{http.StatusOK, a}, err
}

func (s *Service) cart(_ http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	cart, err := readCart(r.Context(), s.pool, who.ID)
	return reply{http.StatusOK, cart}, err
}

func (s *Service) setItem(w http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	product, err := pathID(r, "product")
	if err != nil {
		return reply{}, err
	}
	var body struct {
		Quantity *int   `json:"quantity"`
		Ref      string `json:"ref"`
	}
	if err := httpx.ReadJSON(w, r, &body); err != nil {
		return reply{}, err
	}
	if body.Quantity == nil {
		return reply{}, httpx.Fail(http.StatusBadRequest, "quantity is missing")
	}
	if err := checkText("ref", body.Ref, maxRef); err != nil {
		return reply{}, err
	}
	var cart Cart
	err = s.write(r.Context(), func(tx pgx.Tx) error {
		if err := setItem(r.Context(), tx, who.ID, product, *body.Quantity, body.Ref); err != nil {
			return err
		}
		cart, err = readCart(r.Context(), tx, who.ID)
		return err
	})
	return reply{http.StatusOK, cart}, err
}

// text is what a checkout or a change carries.
type text struct {
	Note string `json:"note"`
	Ref  string `json:"ref"`
}

func (s *Service) checkout(w http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	var body text
	if err := httpx.ReadJSON(w, r, &body); err != nil {
		return reply{}, err
	}
	ctx, cancel := s.sagaContext(r)
	defer cancel()
	order, err := s.saga.checkout(ctx, who.ID, body.Note, body.Ref)
	return reply{http.StatusCreated, order}, err
}

func (s *Service) change(w http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return reply{}, err
	}
	var body text
	if err := httpx.ReadJSON(w, r, &body); err != nil {
		return reply{}, err
	}
	var order Order
	err = s.write(r.Context(), func(tx pgx.Tx) error {
		order, err = changeNote(r.Context(), tx, who.ID, id, body.Note, body.Ref)
		return err
	})
	return reply{http.StatusOK, order}, err
}

func (s *Service) cancel(_ http.ResponseWriter, r *http.Request, who accounts.Customer) (reply, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := s.sagaContext(r)
	defer cancel()
	order, err := s.saga.cancelOwn(ctx, who.ID, id, r.URL.Query().Get("ref"))
	return reply{http.StatusOK, order}, err
}

// refunded is called by billing, which knows no customer's session but the service token.
func (s *Service) refunded(w http.ResponseWriter, r *http.Request) {
	if !httpx.Authorized(r, s.token) {
		httpx.WriteError(w, httpx.Fail(http.StatusUnauthorized, "service token missing or wrong"))
		return
	}
	id, err := pathID(r, "id")
	if err == nil {
		ctx, cancel := s.sagaContext(r)
		defer cancel()
		var order Order
		if order, err = s.saga.markRefunded(ctx, id); err == nil {
			httpx.WriteJSON(w, http.StatusOK, order)
			return
		}
	}
	httpx.WriteError(w, answer.For(r, err, s.log))
}

// pathID reads a number of the path; one that no bigint holds names nothing.
func pathID(r *http.Request, name string) (int64, error) {
	id, err := strconv.ParseInt(mux.Vars(r)[name], 10, 64)
	if err == nil {
		return id, nil
	}
	if name == "product" {
		return 0, errNoProduct
	}
	return 0, errNoOrder
}
