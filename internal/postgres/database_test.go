package postgres

import (
	"strings"
	"testing"

	"strangler/capability"
)

// TestNoPartOfAPasswordIsShown, wherever a wrong connection string puts it.
func TestNoPartOfAPasswordIsShown(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		`postgres://joe:hush@hush@127.0.0.1:1/shop`,
		`postgres://joe:hush/hush@127.0.0.1:1/shop`,
		`postgres://joe:hush?hush@127.0.0.1:1/shop`,
		`postgres://joe:hush#hush@127.0.0.1:1/shop`,
		`postgres://joe:hush%zzhush@127.0.0.1:1/shop`,
		`postgres://joe:hush:hush@127.0.0.1:1/shop`,
		`postgres://joe:hush hush@127.0.0.1:1/shop`,
		`postgres://joe:hush@127.0.0.1:1:1/shop`,
		`postgres://joe:hush@127.0.0.1:1/shop?sslmode=strange`,
		`postgres://joe@127.0.0.1:1/shop?password=hush@hush&connect_timeout=soon`,
		`host=127.0.0.1 port=1 user=joe password = hush connect_timeout=soon`,
		`host=127.0.0.1 port=1 user=joe PASSWORD=hush`,
		`host=127.0.0.1 port=1 user=joe password='hush`,
		`host=127.0.0.1 port=1 user=joe password=hush hush`,
		`host=127.0.0.1 port=1 user=joe password=hush`,
		`joe:hush@127.0.0.1:1/shop`,
	} {
		d, err := Open(t.Context(), capability.Legacy, dsn)
		if err == nil {
			d.Close()
			t.Errorf("%s: opened", dsn)
		} else if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}
