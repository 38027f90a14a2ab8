package orders

import (
	"embed"
	"fmt"
	"net/http"
	"strconv"

	"legacy-monolith/web"
)

//go:embed templates/*.html
var templates embed.FS

var (
	cartPage  = web.ParsePage(templates, "templates/cart.html")
	listPage  = web.ParsePage(templates, "templates/list.html")
	orderPage = web.ParsePage(templates, "templates/order.html")
)

func (h handlers) cartPage(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	cart, err := h.orders.Cart(r.Context(), v.ID)
	if err != nil {
		return err
	}
	return web.Render(w, http.StatusOK, v, cartPage, "Your cart", cart)
}

// itemForm sets a quantity, as the cart's own form does; the product page's form
// sets the first one.
func (h handlers) itemForm(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	product, err := formInt(r, "product_id")
	if err != nil {
		return err
	}
	quantity, err := formInt(r, "quantity")
	if err != nil {
		return err
	}
	if err := h.orders.SetItem(r.Context(), v.ID, int64(product), quantity, r.PostFormValue("ref")); err != nil {
		return err
	}
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
	return nil
}

func (h handlers) checkoutForm(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	order, err := h.orders.Checkout(r.Context(), v.ID, r.PostFormValue("ref"), r.PostFormValue("note"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, orderPath(order.ID), http.StatusSeeOther)
	return nil
}

func (h handlers) listPage(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	orders, err := h.orders.Orders(r.Context(), v.ID, 50)
	if err != nil {
		return err
	}
	return web.Render(w, http.StatusOK, v, listPage, "My orders", orders)
}

func (h handlers) orderPage(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	order, err := h.orders.Order(r.Context(), v.ID, id)
	if err != nil {
		return err
	}
	return web.Render(w, http.StatusOK, v, orderPage, fmt.Sprintf("Order %d", id), order)
}

func (h handlers) noteForm(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	if _, err := h.orders.ChangeNote(r.Context(), v.ID, id, r.PostFormValue("note"), r.PostFormValue("ref")); err != nil {
		return err
	}
	http.Redirect(w, r, orderPath(id), http.StatusSeeOther)
	return nil
}

func (h handlers) cancelForm(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	if _, err := h.orders.Cancel(r.Context(), v.ID, id, r.PostFormValue("ref")); err != nil {
		return err
	}
	http.Redirect(w, r, orderPath(id), http.StatusSeeOther)
	return nil
}

func orderPath(id int64) string { return fmt.Sprintf("/orders/%d", id) }

func formInt(r *http.Request, name string) (int, error) {
	n, err := strconv.Atoi(r.PostFormValue(name))
	if err != nil {
		return 0, web.Refuse(http.StatusBadRequest, name+" is not a number")
	}
	return n, nil
}
