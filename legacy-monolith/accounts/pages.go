package accounts

import (
	"embed"
	"errors"
	"net/http"
	"strings"

	"legacy-monolith/web"
)

//go:embed templates/*.html
var templates embed.FS

var (
	loginPage    = web.ParsePage(templates, "templates/login.html")
	registerPage = web.ParsePage(templates, "templates/register.html")
)

// form is what a refused form shows again; a password never is.
type form struct {
	Problem, Email, Name, Next string
}

func (h handlers) loginPage(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	return web.Render(w, http.StatusOK, v, loginPage, "Sign in", form{Next: r.URL.Query().Get("next")})
}

func (h handlers) loginForm(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	in := form{Email: r.PostFormValue("email"), Next: r.PostFormValue("next")}
	token, _, err := h.accounts.Login(r.Context(), in.Email, r.PostFormValue("password"))
	var refusal *web.Refusal
	if errors.As(err, &refusal) {
		in.Problem = refusal.Message
		return web.Render(w, refusal.Status, v, loginPage, "Sign in", in)
	}
	if err != nil {
		return err
	}
	setCookie(w, token)
	http.Redirect(w, r, local(in.Next), http.StatusSeeOther)
	return nil
}

func (h handlers) registerPage(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	return web.Render(w, http.StatusOK, v, registerPage, "Register", form{Next: r.URL.Query().Get("next")})
}

// registerForm also signs the new customer in.
func (h handlers) registerForm(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	in := form{Email: r.PostFormValue("email"), Name: r.PostFormValue("name"), Next: r.PostFormValue("next")}
	password := r.PostFormValue("password")
	_, err := h.accounts.Register(r.Context(), in.Email, in.Name, password)
	var refusal *web.Refusal
	if errors.As(err, &refusal) {
		in.Problem = refusal.Message
		return web.Render(w, refusal.Status, v, registerPage, "Register", in)
	}
	if err != nil {
		return err
	}
	token, _, err := h.accounts.Login(r.Context(), in.Email, password)
	if err != nil {
		return err
	}
	setCookie(w, token)
	http.Redirect(w, r, local(in.Next), http.StatusSeeOther)
	return nil
}

func (h handlers) logoutForm(w http.ResponseWriter, r *http.Request, _ web.Visitor) error {
	if err := h.end(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// local keeps a redirect inside the shop: browsers read // and /\ as another host.
func local(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
		return "/"
	}
	return path
}
