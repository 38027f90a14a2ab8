package config

import (
	"strings"
	"testing"
)

// No message shows a password, wherever it stands and whatever is wrong with it:
// what check prints ends in logs and tickets.
func TestPasswordsAreNotShown(t *testing.T) {
	for _, row := range []struct{ name, config, want string }{
		{"endpoint", "legacy: {endpoints: ['http://u:S3CRET@a:1']}\n", `legacy.endpoints[0] = "http://…@a:1": has credentials in it`},
		{"endpoint that is no URL", "legacy: {endpoints: ['http://u:S3C/RET@%zz:1']}\n", `legacy.endpoints[0] = "http://…@%zz:1": is no URL`},
		{"address of Consul", least + "consul: {address: 'http://u:S3CRET@a:1'}\n", `consul.address = "http://…@a:1": is no address`},
		{"address of Consul without a scheme", least + "consul: {address: 'u:S3CRET@a:1'}\n", `consul.address: is no address of a Consul agent`},
		{"token in a block", least + "consul:\n  token: |\n    S3CRET\n", `consul.token: is not written plainly`},
		{"token of two lines", least + "consul: {token: \"S3CRET\\nb\"}\n", `consul.token: is more than one line`},
		{"database in a block", "legacy:\n  endpoints: [http://a:1]\n  database: >-\n    postgres://u:S3CRET@a/b\n", `legacy.database: is not written plainly`},
		{"database of another kind", "legacy: {endpoints: [http://a:1], database: 'mysql://u:S3CRET@a/b'}\n", `legacy.database: is no connection string`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, problems := load("c.yaml", []byte(row.config))
			var all strings.Builder
			for _, p := range problems {
				all.WriteString(p.String() + "\n")
			}
			if said := all.String(); !strings.Contains(said, row.want) || strings.Contains(said, "S3C") || strings.Contains(said, "RET") {
				t.Errorf("got  %swant %s", said, row.want)
			}
		})
	}
}
