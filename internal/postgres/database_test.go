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

// TestWhyAConnectionStringCannotBeRead: the reason is told where it has nothing of the
// string but the names of settings and files.
func TestWhyAConnectionStringCannotBeRead(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"sslmode=verify-full&sslrootcert=/no/ca.pem":              "failed to configure TLS: unable to read CA file: open /no/ca.pem: no such file",
		"sslmode=require&sslcert=/no/cert.pem&sslkey=/no/key.pem": "open /no/key.pem: no such file",
		"sslmode=strange":      "failed to configure TLS: sslmode is invalid",
		"connect_timeout=soon": "invalid connect_timeout",
		"port=99999":           "invalid port",
		"pool_max_conns=many":  "cannot parse pool_max_conns",
	} {
		d, err := Open(t.Context(), capability.Legacy, "postgres://joe:hush@127.0.0.1:1/shop?"+setting)
		if err == nil {
			d.Close()
			t.Errorf("%s: opened", setting)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "soon") {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
