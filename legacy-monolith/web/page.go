package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"time"

	"github.com/gorilla/mux"
)

//go:embed templates/*.html templates/shop.css
var templates embed.FS

var layout = template.Must(template.New("layout.html").Funcs(template.FuncMap{
	"money": func(cents int64) string { return fmt.Sprintf("€ %d.%02d", cents/100, cents%100) },
	"day":   func(t time.Time) string { return t.Format("2 January 2006, 15:04") },
	"times": func(a int, b int64) int64 { return int64(a) * b },
}).ParseFS(templates, "templates/layout.html"))

var errorPage = ParsePage(templates, "templates/error.html")

// ParsePage reads a module's page, which defines "content", into the shop's
// layout. It panics on a template that does not parse: pages are embedded.
func ParsePage(files fs.FS, name string) *template.Template {
	return template.Must(template.Must(layout.Clone()).ParseFS(files, name))
}

// Render answers with a page. It is built whole before the first byte is sent, so
// a failing template cannot leave half a page behind.
func Render(w http.ResponseWriter, status int, v Visitor, page *template.Template, title string, data any) error {
	var body bytes.Buffer
	err := page.Execute(&body, map[string]any{
		"Title": title, "Visitor": v, "Data": data, "ServedBy": ServedBy,
	})
	if err != nil {
		return fmt.Errorf("render %q: %w", title, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err = w.Write(body.Bytes())
	return err
}

// Routes adds the stylesheet and the page for whatever no module claims.
func (s *Site) Routes(r *mux.Router) {
	r.Handle("/static/shop.css", s.API(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=300")
		http.ServeFileFS(w, r, templates, "templates/shop.css")
		return nil
	})).Methods(http.MethodGet, http.MethodHead)
	r.NotFoundHandler = s.API(func(http.ResponseWriter, *http.Request) error {
		return Refuse(http.StatusNotFound, "no such page")
	})
	r.MethodNotAllowedHandler = s.API(func(http.ResponseWriter, *http.Request) error {
		return Refuse(http.StatusMethodNotAllowed, "method not allowed")
	})
}
