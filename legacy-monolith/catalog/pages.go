package catalog

import (
	"embed"
	"net/http"

	"legacy-monolith/web"
)

//go:embed templates/*.html
var templates embed.FS

var (
	windowPage  = web.ParsePage(templates, "templates/window.html")
	productPage = web.ParsePage(templates, "templates/product.html")
)

// window is the shop window: all products, those of a category, or those found.
func (h handlers) window(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	after, err := web.QueryInt(r, "after", 0, 0, 1<<62)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	view := struct {
		Products []Product
		Category string
		Next     int64
	}{Category: query.Get("category")}
	title := "Everything"
	if text := query.Get("q"); text != "" {
		title = "Found for “" + text + "”"
		view.Products, err = h.catalog.Search(r.Context(), text, pageSize)
	} else {
		if view.Category != "" {
			title = view.Category
		}
		view.Products, view.Next, err = h.catalog.List(r.Context(), view.Category, after, pageSize)
	}
	if err != nil {
		return err
	}
	return web.Render(w, http.StatusOK, v, windowPage, title, view)
}

func (h handlers) productPage(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	id, err := web.PathID(r, "id")
	if err != nil {
		return err
	}
	product, err := h.catalog.Product(r.Context(), id)
	if err != nil {
		return err
	}
	return web.Render(w, http.StatusOK, v, productPage, product.Name, product)
}
