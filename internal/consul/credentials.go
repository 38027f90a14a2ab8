package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/hashicorp/consul/api"
)

// credentials make the TLS connections of a client, each with what is in the files
// when it is made: certificates are replaced while the client runs.
type credentials struct {
	files     api.TLSConfig
	transport *http.Transport // that the connections are for

	mu   sync.Mutex
	good *tls.Config // as read last; guarded by mu
}

// read returns what is in the files, and what was there before while they cannot be
// used, as in the midst of being replaced; then also why.
func (c *credentials) read() (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	config, err := api.SetupTLSConfig(&c.files)
	if err != nil {
		return c.good.Clone(), fmt.Errorf("read the files of consul.tls: %w", err)
	}
	// On HTTP/2 a line that went dead would carry the next question, too. On HTTP/1.1
	// it is given up with the question that had no answer.
	config.NextProtos = []string{"http/1.1"}
	c.good = config
	return config.Clone(), nil
}

func (c *credentials) dial(ctx context.Context, network, address string) (net.Conn, error) {
	config, unread := c.read()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	plain, err := c.transport.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.transport.TLSHandshakeTimeout)
	defer cancel()
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, unread, plain.Close())
	}
	return conn, nil
}
