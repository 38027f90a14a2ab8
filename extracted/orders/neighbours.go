package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"extracted/internal/httpx"
)

// refusal says why an order will not be placed; empty while nobody has refused.
type refusal string

// The refusals, as they stand in the outbox.
const (
	refusedStock    refusal = "stock"
	refusedCharge   refusal = "charge"
	refusedRefunded refusal = "refunded"
)

// answer is what the customer is told.
func (r refusal) answer(message string) *httpx.Error {
	switch r {
	case refusedCharge:
		return httpx.Fail(http.StatusPaymentRequired, "%s", first(message, "charge refused"))
	case refusedRefunded:
		return httpx.Fail(http.StatusConflict, "the payment was refunded before the order was placed")
	default:
		return httpx.Fail(http.StatusConflict, "%s", first(message, "out of stock"))
	}
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// refusedError is a neighbour's answer "no": final, and asking again will not change it.
type refusedError struct {
	why     refusal
	message string
}

func (e *refusedError) Error() string { return string(e.why) + " refused: " + e.message }

// Stock keeps the quantities. Both methods may be repeated for the same order; a Take that arrives after a
// Return of its order is refused. A *refusedError is final; after any other error it is unknown whether
// stock acted.
type Stock interface {
	Take(ctx context.Context, order int64, lines []Line) error
	Return(ctx context.Context, order int64) error
}

// Billing keeps the money, under the same rules as Stock.
type Billing interface {
	Charge(ctx context.Context, order, customer, cents int64) error
	Refund(ctx context.Context, order int64) error
}

// neighbours speaks to stock and billing through the gateway.
type neighbours struct {
	client      *http.Client
	gateway     string
	token       string
	callTimeout time.Duration // of each try
}

func (n *neighbours) Take(ctx context.Context, order int64, lines []Line) error {
	type line struct {
		ProductID int64 `json:"product_id"`
		Quantity  int   `json:"quantity"`
	}
	body := struct {
		OrderID int64  `json:"order_id"`
		Lines   []line `json:"lines"`
	}{OrderID: order, Lines: make([]line, 0, len(lines))}
	for _, l := range lines {
		body.Lines = append(body.Lines, line{l.ProductID, l.Quantity})
	}
	return n.post(ctx, "/api/stock/take", body, http.StatusConflict, refusedStock)
}

func (n *neighbours) Return(ctx context.Context, order int64) error {
	return n.post(ctx, "/api/stock/return", map[string]int64{"order_id": order}, 0, "")
}

func (n *neighbours) Charge(ctx context.Context, order, customer, cents int64) error {
	body := map[string]int64{"order_id": order, "customer_id": customer, "amount_cents": cents}
	return n.post(ctx, "/api/billing/charges", body, http.StatusPaymentRequired, refusedCharge)
}

func (n *neighbours) Refund(ctx context.Context, order int64) error {
	return n.post(ctx, "/api/billing/refunds", map[string]int64{"order_id": order}, 0, "")
}

// The pause between two tries of one call; it doubles from the first to the last.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// post asks until there is an answer or ctx ends. Repeating is safe because all four calls are idempotent
// by order; it is needed because after a lost answer nobody knows whether the neighbour acted.
func (n *neighbours) post(ctx context.Context, path string, body any, refusalStatus int, why refusal) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		answer, err := n.once(ctx, path, body)
		switch {
		case err == nil && (answer.Status == http.StatusOK || answer.Status == http.StatusCreated):
			return nil
		case err == nil && refusalStatus != 0 && answer.Status == refusalStatus:
			return &refusedError{why: why, message: answer.Message("")}
		case err == nil && answer.Status < 500:
			// Not a refusal of this order but a call that is wrong, such as a bad token: repeating it now is no use.
			return fmt.Errorf("call %s: status %d: %s", path, answer.Status, answer.Message("no reason given"))
		case err == nil:
			err = fmt.Errorf("status %d: %s", answer.Status, answer.Message("no reason given"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("call %s: %w", path, errors.Join(err, ctx.Err()))
		case <-time.After(pause):
		}
	}
}

func (n *neighbours) once(ctx context.Context, path string, body any) (httpx.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, n.callTimeout)
	defer cancel()
	header := http.Header{"Authorization": {"Bearer " + n.token}}
	return httpx.Call(ctx, n.client, http.MethodPost, n.gateway+path, header, body)
}
