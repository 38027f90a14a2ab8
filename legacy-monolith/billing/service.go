package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"legacy-monolith/database"
	"legacy-monolith/web"
)

// ErrNoPayment answers for a payment that does not exist or is somebody else's.
var ErrNoPayment = web.Refuse(http.StatusNotFound, "no such payment")

// Payment is the money of one order.
type Payment struct {
	ID          int64     `json:"id"`
	OrderID     int64     `json:"order_id"`
	AmountCents int64     `json:"amount_cents"`
	Status      string    `json:"status"`
	CreatedAt   time.Time `json:"created_at"`
}

// Invoice is the paper of one payment.
type Invoice struct {
	ID        int64     `json:"id"`
	PaymentID int64     `json:"payment_id"`
	OrderID   int64     `json:"order_id"`
	Number    string    `json:"number"`
	IssuedAt  time.Time `json:"issued_at"`
}

// pageSize bounds how many payments and invoices are listed, newest first.
const pageSize = 100

// Service answers customers and other services.
type Service struct {
	pool   *pgxpool.Pool
	ledger Ledger
	orders Orders
	log    *slog.Logger
}

// New makes a Service on the shop's database, which tells orders about refunds.
func New(pool *pgxpool.Pool, orders Orders, log *slog.Logger) *Service {
	return &Service{pool: pool, orders: orders, log: log}
}

// RefundOwn refunds a payment of a customer, commits, and then tells orders. A
// 503 refusal means that the money has gone back and orders does not know yet:
// repeating the call tells it again.
func (s *Service) RefundOwn(ctx context.Context, customerID, paymentID int64) (p Payment, err error) {
	err = database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		var orderID int64
		err := tx.QueryRow(ctx, `select order_id from payments where id = $1 and customer_id = $2`, paymentID, customerID).
			Scan(&orderID)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoPayment
		}
		if err != nil {
			return err
		}
		if err := s.ledger.Refund(ctx, tx, orderID); err != nil {
			return err
		}
		p, err = payment(ctx, tx, paymentID)
		return err
	})
	if err != nil {
		return Payment{}, fmt.Errorf("refund payment %d: %w", paymentID, err)
	}
	if err := s.orders.Refunded(ctx, p.OrderID); err != nil {
		s.log.WarnContext(ctx, "refund not told to orders", "order_id", p.OrderID, "error", err)
		return Payment{}, web.Refuse(http.StatusServiceUnavailable,
			"payment is refunded, but orders could not be told; try again")
	}
	return p, nil
}

func payment(ctx context.Context, tx pgx.Tx, id int64) (Payment, error) {
	rows, err := tx.Query(ctx, `select id, order_id, amount_cents, status, created_at from payments where id = $1`, id)
	if err != nil {
		return Payment{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Payment])
}

// Payments returns a customer's newest payments.
func (s *Service) Payments(ctx context.Context, customerID int64) ([]Payment, error) {
	rows, err := s.pool.Query(ctx, `select id, order_id, amount_cents, status, created_at from payments
		where customer_id = $1 order by id desc limit $2`, customerID, pageSize)
	if err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	payments, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Payment])
	if err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	return payments, nil
}

// Invoices returns a customer's newest invoices.
func (s *Service) Invoices(ctx context.Context, customerID int64) ([]Invoice, error) {
	rows, err := s.pool.Query(ctx, `select i.id, i.payment_id, i.order_id, i.number, i.issued_at
		from payments p join invoices i on i.payment_id = p.id
		where p.customer_id = $1 order by i.id desc limit $2`, customerID, pageSize)
	if err != nil {
		return nil, fmt.Errorf("list invoices: %w", err)
	}
	invoices, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Invoice])
	if err != nil {
		return nil, fmt.Errorf("list invoices: %w", err)
	}
	return invoices, nil
}
