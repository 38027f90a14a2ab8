package consul

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/hashicorp/consul/api"
)

// Server says where Consul is and who asks. The zero value is the local agent.
type Server struct {
	Address    string // host:port or URL; empty: CONSUL_HTTP_ADDR, then 127.0.0.1:8500
	Token      string // empty: CONSUL_HTTP_TOKEN, then none
	Datacenter string // empty: the agent's own
	TLS        TLS
}

// TLS is how Consul is trusted, and who we are to it. Anything but the zero value
// makes an address without a scheme https. The files are read again for each new
// connection; while they cannot be used, those that were read before are.
type TLS struct {
	CA          string // file of PEM certificates; empty: the system's
	Certificate string // file, with Key: the client certificate; empty: none
	Key         string
	ServerName  string // to verify instead of the address's host
}

// Connect returns a client. It reads the files of TLS, and fails where they cannot be
// used; it asks Consul nothing.
func Connect(s Server) (*api.Client, error) {
	client, _, err := s.connect()
	return client, err
}

func (s Server) connect() (*api.Client, *http.Transport, error) {
	config := api.DefaultConfig()
	if s.Address != "" {
		config.Address = s.Address
	}
	if s.Token != "" {
		config.Token, config.TokenFile = s.Token, ""
	}
	if s.Datacenter != "" {
		config.Datacenter = s.Datacenter
	}
	if s.TLS != (TLS{}) {
		config.Scheme = "https"
		config.TLSConfig.CAFile, config.TLSConfig.Address = s.TLS.CA, s.TLS.ServerName
		config.TLSConfig.CertFile, config.TLSConfig.KeyFile = s.TLS.Certificate, s.TLS.Key
	}
	transport := config.Transport
	// One blocking query for each service and folder, each on a connection of its own
	// that it finds again.
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	client, err := api.NewClient(config) // which completes the config from the environment
	if err != nil {
		return nil, nil, fmt.Errorf("make a client of consul: %w", err)
	}
	own := &credentials{files: config.TLSConfig, transport: transport}
	if _, err := own.read(); err != nil {
		return nil, nil, err
	}
	transport.DialTLSContext, transport.ForceAttemptHTTP2 = own.dial, false
	return client, transport, nil
}

// Mend says what to do about an error of Consul.
func Mend(err error) string {
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusForbidden {
		return "give consul.token its rights back, or write one that has them"
	}
	return "see whether its agent runs and its servers have a leader: consul operator raft list-peers"
}
