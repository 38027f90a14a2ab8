// Package look is the frame and the style sheet of the extracted services' pages. It knows no page: each
// service brings its own templates and what they show.
package look

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"time"
)

//go:embed layout.html
var layout string

//go:embed style.css
var style string

// Pages are a service's templates, each inside the frame.
type Pages struct {
	servedBy string
	byName   map[string]*template.Template
}

// Parse reads every dir/*.html of files as one page that defines "content". servedBy is what the
// footer says.
func Parse(files fs.FS, dir, servedBy string) (*Pages, error) {
	frame, err := template.New("layout").Funcs(template.FuncMap{
		"money": Money,
		"day":   func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04") },
		"times": func(n int, cents int64) int64 { return int64(n) * cents },
		"style": func() template.CSS { return template.CSS(style) },
	}).Parse(layout)
	if err != nil {
		return nil, fmt.Errorf("parse layout: %w", err)
	}
	names, err := fs.Glob(files, dir+"/*.html")
	if err != nil {
		return nil, fmt.Errorf("list pages: %w", err)
	}
	p := &Pages{servedBy: servedBy, byName: make(map[string]*template.Template)}
	for _, name := range names {
		page, err := frame.Clone()
		if err != nil {
			return nil, fmt.Errorf("clone layout: %w", err)
		}
		if page, err = page.ParseFS(files, name); err != nil {
			return nil, fmt.Errorf("parse page %s: %w", name, err)
		}
		p.byName[name[len(dir)+1:len(name)-len(".html")]] = page
	}
	return p, nil
}

// Page is one page to render. Customer is the name of whoever is logged in, or empty.
type Page struct {
	Name     string // of the template's file, without .html
	Title    string
	Customer string
	Content  any
}

// Render answers with a page. It is rendered whole first, so that a template that fails cannot send half a page.
func (p *Pages) Render(w http.ResponseWriter, status int, page Page) error {
	tmpl, ok := p.byName[page.Name]
	if !ok {
		return fmt.Errorf("render page %q: no such page", page.Name)
	}
	var out bytes.Buffer
	if err := tmpl.ExecuteTemplate(&out, "layout", struct {
		Page
		ServedBy string
	}{page, p.servedBy}); err != nil {
		return fmt.Errorf("render page %q: %w", page.Name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // a cart or an order of one customer
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // a client that has gone is nobody's error
	return nil
}

// Money writes an amount of cents as a price.
func Money(cents int64) string {
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s€ %d.%02d", sign, cents/100, cents%100)
}
