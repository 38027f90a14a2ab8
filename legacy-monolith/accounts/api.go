package accounts

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"legacy-monolith/web"
)

const cookieName = "session"

type handlers struct{ accounts *Service }

// Routes adds the module's API and pages.
func (s *Service) Routes(r *mux.Router, site *web.Site) {
	h := handlers{accounts: s}
	r.Handle("/api/accounts/register", site.API(h.register)).Methods(http.MethodPost)
	r.Handle("/api/accounts/login", site.API(h.login)).Methods(http.MethodPost)
	r.Handle("/api/accounts/logout", site.API(h.logout)).Methods(http.MethodPost)
	r.Handle("/api/accounts/me", site.CustomerAPI(h.me)).Methods(http.MethodGet)
	r.Handle("/api/accounts/profile", site.CustomerAPI(h.profile)).Methods(http.MethodPut)

	r.Handle("/login", site.Page(h.loginPage)).Methods(http.MethodGet)
	r.Handle("/login", site.Page(h.loginForm)).Methods(http.MethodPost)
	r.Handle("/register", site.Page(h.registerPage)).Methods(http.MethodGet)
	r.Handle("/register", site.Page(h.registerForm)).Methods(http.MethodPost)
	r.Handle("/logout", site.Page(h.logoutForm)).Methods(http.MethodPost)
}

func (h handlers) register(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Email, Name, Password string }
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	customer, err := h.accounts.Register(r.Context(), in.Email, in.Name, in.Password)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, customer)
}

func (h handlers) login(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Email, Password string }
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	token, customer, err := h.accounts.Login(r.Context(), in.Email, in.Password)
	if err != nil {
		return err
	}
	setCookie(w, token)
	return web.WriteJSON(w, http.StatusOK, customer)
}

func (h handlers) logout(w http.ResponseWriter, r *http.Request) error {
	if err := h.end(w, r); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}

func (h handlers) me(w http.ResponseWriter, _ *http.Request, v web.Visitor) error {
	return web.WriteJSON(w, http.StatusOK, Customer(v))
}

func (h handlers) profile(w http.ResponseWriter, r *http.Request, v web.Visitor) error {
	var in struct{ Name string }
	if err := web.ReadJSON(w, r, &in); err != nil {
		return err
	}
	if err := h.accounts.Rename(r.Context(), v.ID, in.Name); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, Customer{ID: v.ID, Email: v.Email, Name: strings.TrimSpace(in.Name)})
}

func setCookie(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: 30 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// end closes the request's session in the database and in the browser.
func (h handlers) end(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(cookieName); err == nil {
		if err := h.accounts.Logout(r.Context(), cookie.Value); err != nil {
			return err
		}
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}
