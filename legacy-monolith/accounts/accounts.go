// Package accounts owns customers and their sessions. Other modules refer to a
// customer by id only and learn who is asking through web.Visitor.
package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"

	"legacy-monolith/web"
)

// Answers of this module that callers may compare.
var (
	ErrTaken       = web.Refuse(http.StatusConflict, "email is already registered")
	ErrCredentials = web.Refuse(http.StatusUnauthorized, "email or password is wrong")
)

// Customer is what a customer may see of the own account.
type Customer struct {
	ID    int64  `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
}

// Service registers customers and keeps their sessions.
type Service struct{ pool *pgxpool.Pool }

// New makes a Service on the shop's database.
func New(pool *pgxpool.Pool) *Service { return &Service{pool: pool} }

// Register adds a customer. It returns ErrTaken when the email is in use, and a
// 400 refusal for input that cannot be an account. Hashing takes tens of
// milliseconds of one core.
func (s *Service) Register(ctx context.Context, email, name, password string) (Customer, error) {
	c := Customer{Email: normal(email), Name: strings.TrimSpace(name)}
	if err := validate(c, password); err != nil {
		return Customer{}, err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return Customer{}, fmt.Errorf("hash password: %w", err)
	}
	err = s.pool.QueryRow(ctx,
		`insert into customers (email, name, password_hash) values ($1, $2, $3) returning id`,
		c.Email, c.Name, string(hash)).Scan(&c.ID)
	var fault *pgconn.PgError
	if errors.As(err, &fault) && fault.ConstraintName == "customers_email_key" {
		return Customer{}, ErrTaken
	}
	if err != nil {
		return Customer{}, fmt.Errorf("register customer: %w", err)
	}
	return c, nil
}

// Login checks the password and opens a session of 30 days; the token is the
// value of its cookie. An unknown email and a wrong password are the same
// ErrCredentials.
func (s *Service) Login(ctx context.Context, email, password string) (token string, c Customer, err error) {
	var hash string
	err = s.pool.QueryRow(ctx, `select id, email, name, password_hash from customers where email = $1`, normal(email)).
		Scan(&c.ID, &c.Email, &c.Name, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", Customer{}, ErrCredentials
	}
	if err != nil {
		return "", Customer{}, fmt.Errorf("find customer: %w", err)
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		return "", Customer{}, ErrCredentials
	}
	token = rand.Text() + rand.Text()
	_, err = s.pool.Exec(ctx, `insert into sessions (token, customer_id, created_at, expires_at)
		values ($1, $2, now(), now() + interval '30 days')`, token, c.ID)
	if err != nil {
		return "", Customer{}, fmt.Errorf("open session: %w", err)
	}
	return token, c, nil
}

// Logout ends the session; one that does not exist is ended already.
func (s *Service) Logout(ctx context.Context, token string) error {
	if _, err := s.pool.Exec(ctx, `delete from sessions where token = $1`, token); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// Rename changes a customer's name.
func (s *Service) Rename(ctx context.Context, id int64, name string) error {
	name = strings.TrimSpace(name)
	if name == "" {
		return web.Refuse(http.StatusBadRequest, "name is missing")
	}
	if _, err := s.pool.Exec(ctx, `update customers set name = $2 where id = $1`, id, name); err != nil {
		return fmt.Errorf("rename customer: %w", err)
	}
	return nil
}

// Visitor finds the customer of the session cookie: the zero Visitor when there
// is no cookie, or its session is unknown or over.
func (s *Service) Visitor(r *http.Request) (v web.Visitor, err error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return web.Visitor{}, nil
	}
	err = s.pool.QueryRow(r.Context(), `select c.id, c.email, c.name from sessions s
		join customers c on c.id = s.customer_id where s.token = $1 and s.expires_at > now()`, cookie.Value).
		Scan(&v.ID, &v.Email, &v.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return web.Visitor{}, nil
	}
	if err != nil {
		return web.Visitor{}, fmt.Errorf("resolve session: %w", err)
	}
	return v, nil
}

func normal(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

func validate(c Customer, password string) error {
	name, domain, found := strings.Cut(c.Email, "@")
	switch {
	case !found || name == "" || domain == "" || strings.ContainsAny(c.Email, " \t\r\n"):
		return web.Refuse(http.StatusBadRequest, "email is not an address")
	case c.Name == "":
		return web.Refuse(http.StatusBadRequest, "name is missing")
	case len(password) < 6 || len(password) > 72: // bcrypt reads no further than 72 bytes
		return web.Refuse(http.StatusBadRequest, "password must have 6 to 72 bytes")
	}
	return nil
}
