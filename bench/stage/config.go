package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Config is strangler's configuration, made by Configure.
func (s *Stage) Config() string { return filepath.Join(s.Dir, "config.yaml") }

// Configure copies the repository's configuration and documents, as they are but for addresses and connection strings,
// which are written out so that a person can type commands without setting variables first. rate is that of the orders'
// backfill in rows per second; 0 leaves it unbounded.
func (s *Stage) Configure(rate int64) error {
	addresses := []string{
		"127.0.0.1:8080", address(s.Ports.Proxy),
		"127.0.0.1:8090", address(s.Ports.Admin),
		"127.0.0.1:9000", address(s.Ports.Monolith),
		"127.0.0.1:9002", address(s.Ports.Catalog),
		"127.0.0.1:9003", address(s.Ports.Orders),
		"${LEGACY_DATABASE_URL}", RoleURL(s.legacy, "shop", Mover),
		"${ORDERS_DATABASE_URL}", RoleURL(s.extracted, "orders", Mover),
		"${CATALOG_DATABASE_URL}", RoleURL(s.extracted, "catalog", Mover),
	}
	throttled := append(addresses, "\ndata:\n", fmt.Sprintf("\ndata:\n  rate: %d    # rows per second, so that there is something to see\n", rate))
	if rate <= 0 {
		throttled = addresses
	}
	return errors.Join(
		s.copyConfig("config.yaml", addresses),
		s.copyConfig("routes/catalog.yaml", addresses),
		s.copyConfig("routes/orders.yaml", throttled),
	)
}

func (s *Stage) copyConfig(name string, replace []string) error {
	text, err := os.ReadFile(filepath.Join(s.Root, name))
	if err != nil {
		return fmt.Errorf("copy configuration: %w", err)
	}
	to := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy configuration: %w", err)
	}
	if err := os.WriteFile(to, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		return fmt.Errorf("copy configuration: %w", err)
	}
	return nil
}
