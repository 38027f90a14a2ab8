package billing

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"legacy-monolith/web"
)

// Orders is told that the payment of an order has been refunded; being told twice
// is harmless. It has an implementation in this process and one over HTTP, so
// that the orders can leave.
type Orders interface {
	Refunded(ctx context.Context, orderID int64) error
}

// OrdersFunc makes an Orders of a function: the module in this process.
type OrdersFunc func(ctx context.Context, orderID int64) error

// Refunded calls the function.
func (f OrdersFunc) Refunded(ctx context.Context, orderID int64) error { return f(ctx, orderID) }

// RemoteOrders tells orders over HTTP, wherever they live now.
type RemoteOrders struct {
	url    string
	token  string
	client *http.Client
}

// NewRemoteOrders makes a RemoteOrders that calls the API at url as a service with
// token. One call takes ten seconds at most: a proxy may hold it for some.
func NewRemoteOrders(url, token string) *RemoteOrders {
	return &RemoteOrders{
		url: strings.TrimSuffix(url, "/"), token: token,
		client: &http.Client{Timeout: 10 * time.Second},
	}
}

// Refunded posts to /api/orders/{id}/refunded and expects 200.
func (o *RemoteOrders) Refunded(ctx context.Context, orderID int64) (err error) {
	url := fmt.Sprintf("%s/api/orders/%d/refunded", o.url, orderID)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return fmt.Errorf("tell orders: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	web.Propagate(ctx, request.Header)
	response, err := o.client.Do(request)
	if err != nil {
		return fmt.Errorf("tell orders: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	// Read to the end, so that the connection can be used again.
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("tell orders: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("tell orders: status %d: %s", response.StatusCode, strings.TrimSpace(string(body)))
	}
	return nil
}
