package orders

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"

	"extracted/internal/accounts"
	"extracted/internal/answer"
	"extracted/internal/httpx"
	"extracted/internal/look"
)

func (s *Service) routePages(r *mux.Router) {
	r.Handle("/cart", s.page(s.cartPage)).Methods(http.MethodGet)
	r.Handle("/cart/items", s.page(s.setItemForm)).Methods(http.MethodPost)
	r.Handle("/cart/checkout", s.page(s.checkoutForm)).Methods(http.MethodPost)
	r.Handle("/orders", s.page(s.ordersPage)).Methods(http.MethodGet)
	r.Handle("/orders/{id:[0-9]+}", s.page(s.orderPage)).Methods(http.MethodGet)
	r.Handle("/orders/{id:[0-9]+}/note", s.page(s.noteForm)).Methods(http.MethodPost)
	r.Handle("/orders/{id:[0-9]+}/cancel", s.page(s.cancelForm)).Methods(http.MethodPost)
}

// page wraps what a browser asks for: nobody is sent to log in, an error becomes a page.
func (s *Service) page(serve func(http.ResponseWriter, *http.Request, accounts.Customer) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.accounts.Customer(r)
		if errors.Is(err, accounts.ErrNobody) {
			toLogin(w, r)
			return
		}
		if err == nil && r.Method == http.MethodPost {
			err = httpx.ReadForm(w, r)
		}
		if err == nil {
			err = serve(w, r, who)
		}
		if err != nil {
			s.problemPage(w, r, who, answer.For(r, err, s.log))
		}
	})
}

// toLogin leads back to a page afterwards; a form is gone by then, so it leads to the shop window.
func toLogin(w http.ResponseWriter, r *http.Request) {
	back := "/"
	if r.Method == http.MethodGet {
		back = r.URL.RequestURI()
	}
	http.Redirect(w, r, "/login?next="+url.QueryEscape(back), http.StatusSeeOther)
}

func (s *Service) problemPage(w http.ResponseWriter, r *http.Request, who accounts.Customer, e *httpx.Error) {
	httpx.SetHeaders(w, e)
	page := look.Page{Name: "problem", Title: http.StatusText(e.Status), Customer: who.Name, Content: e.Message}
	if err := s.pages.Render(w, e.Status, page); err != nil {
		httpx.WriteError(w, answer.For(r, err, s.log))
	}
}

func (s *Service) cartPage(w http.ResponseWriter, r *http.Request, who accounts.Customer) error {
	cart, err := readCart(r.Context(), s.pool, who.ID)
	if err != nil {
		return err
	}
	return s.pages.Render(w, http.StatusOK, look.Page{Name: "cart", Title: "Your cart", Customer: who.Name, Content: cart})
}

func (s *Service) setItemForm(w http.ResponseWriter, r *http.Request, who accounts.Customer) error {
	product, err := strconv.ParseInt(r.PostForm.Get("product_id"), 10, 64)
	if err != nil {
		return httpx.Fail(http.StatusBadRequest, "product_id is not a number")
	}
	quantity, err := strconv.Atoi(strings.TrimSpace(r.PostForm.Get("quantity")))
	if err != nil {
		return httpx.Fail(http.StatusBadRequest, "quantity is not a number")
	}
	ref := r.PostForm.Get("ref")
	if err := checkText("ref", ref, maxRef); err != nil {
		return err
	}
	if err := s.write(r.Context(), func(tx pgx.Tx) error {
		return setItem(r.Context(), tx, who.ID, product, quantity, ref)
	}); err != nil {
		return err
	}
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
	return nil
}

func (s *Service) checkoutForm(w http.ResponseWriter, r *http.Request, who accounts.Customer) error {
	ctx, cancel := s.sagaContext(r)
	defer cancel()
	order, err := s.saga.checkout(ctx, who.ID, r.PostForm.Get("note"), r.PostForm.Get("ref"))
	if err != nil {
		return err
	}
	toOrder(w, r, order.ID)
	return nil
}

func (s *Service) ordersPage(w http.ResponseWriter, r *http.Request, who accounts.Customer) error {
	found, err := listOrders(r.Context(), s.pool, who.ID, 50)
	if err != nil {
		return err
	}
	return s.pages.Render(w, http.StatusOK, look.Page{Name: "orders", Title: "My orders", Customer: who.Name, Content: found})
}

func (s *Service) orderPage(w http.ResponseWriter, r *http.Request, who accounts.Customer) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	order, err := ownOrder(r.Context(), s.pool, who.ID, id)
	if err != nil {
		return err
	}
	return s.pages.Render(w, http.StatusOK, look.Page{
		Name: "order", Title: fmt.Sprintf("Order %d", order.ID), Customer: who.Name, Content: order})
}

func (s *Service) noteForm(w http.ResponseWriter, r *http.Request, who accounts.Customer) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	if err := s.write(r.Context(), func(tx pgx.Tx) error {
		_, err := changeNote(r.Context(), tx, who.ID, id, r.PostForm.Get("note"), r.PostForm.Get("ref"))
		return err
	}); err != nil {
		return err
	}
	toOrder(w, r, id)
	return nil
}

func (s *Service) cancelForm(w http.ResponseWriter, r *http.Request, who accounts.Customer) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	ctx, cancel := s.sagaContext(r)
	defer cancel()
	if _, err := s.saga.cancelOwn(ctx, who.ID, id, r.PostForm.Get("ref")); err != nil {
		return err
	}
	toOrder(w, r, id)
	return nil
}

func toOrder(w http.ResponseWriter, r *http.Request, id int64) {
	http.Redirect(w, r, "/orders/"+strconv.FormatInt(id, 10), http.StatusSeeOther)
}
