package catalog

import (
	"net/http"

	"extracted/internal/answer"
	"extracted/internal/httpx"
	"extracted/internal/look"
)

// page wraps what a browser asks for. The name in the corner is a courtesy: when accounts cannot be asked,
// the page comes without it, for a shop window must not go dark with the accounts.
func (s *Service) page(build func(*http.Request) (look.Page, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		page, err := build(r)
		if err != nil {
			e := answer.For(r, err, s.log)
			httpx.SetHeaders(w, e)
			status, page = e.Status, look.Page{Name: "problem", Title: http.StatusText(e.Status), Content: e.Message}
		}
		if who, err := s.accounts.Customer(r); err == nil {
			page.Customer = who.Name
		}
		if err := s.pages.Render(w, status, page); err != nil {
			httpx.WriteError(w, answer.For(r, err, s.log))
		}
	})
}

// window is the shop window: everything, one category, or what was searched for.
type window struct {
	Products []Product
	Category string
	Next     int64
}

func (s *Service) window(r *http.Request) (look.Page, error) {
	after, err := httpx.QueryInt(r, "after", 0, 0, lastID)
	if err != nil {
		return look.Page{}, err
	}
	text, category := r.URL.Query().Get("q"), r.URL.Query().Get("category")
	if err := checkText("category", category); err != nil {
		return look.Page{}, err
	}
	if text != "" {
		found, err := searchProducts(r.Context(), s.pool, text, pageSize)
		return look.Page{Name: "window", Title: "Found for “" + text + "”", Content: window{Products: found}}, err
	}
	found, next, err := listProducts(r.Context(), s.pool, category, after, pageSize)
	title := "Everything"
	if category != "" {
		title = category
	}
	return look.Page{Name: "window", Title: title, Content: window{found, category, next}}, err
}

func (s *Service) productPage(r *http.Request) (look.Page, error) {
	id, err := pathID(r)
	if err != nil {
		return look.Page{}, err
	}
	p, err := readProduct(r.Context(), s.pool, id)
	return look.Page{Name: "product", Title: p.Name, Content: p}, err
}
