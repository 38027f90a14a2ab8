package config

import (
	"strings"
	"testing"
)

func TestEdgeProblems(t *testing.T) {
	const pair = "certificates: [{certificate: a, key: b}]"
	for _, row := range []struct{ name, keys, want string }{
		{"no network", "trusted: [here]", `edge.trusted[0] = "here": is no address and no network; write it as in 10.0.0.0/8`},
		{"bits too many", "trusted: [10.0.0.1/8]", `edge.trusted[0] = "10.0.0.1/8": has bits beyond its length; write 10.0.0.0/8`},
		{"length", "trusted: [10.0.0.0/33]", `is no address and no network`},
		{"zone", "trusted: ['fe80::1%eth0']", `is no address and no network`},
		{"IPv4 as IPv6", "trusted: ['::ffff:10.0.0.1']", `is an IPv4 address that is written as IPv6`},
		{"trusted twice", "trusted: [10.0.0.1, 10.0.0.1/32]", `edge.trusted[1] = "10.0.0.1/32": is given twice`},
		{"nobody in a list", "trusted: []", `edge.trusted: is an empty list`},
		{"override", "override: X Side", `edge.override = "X Side": is no name of a header`},
		{"no header to drop", "drop_headers: [X-A, X B]", `"X B": is no name of a header`},
		{"override by the host", "override: host", `edge.override = "host": is no header here; name one of its own, as in X-Strangler-Side`},
		{"http2", "http2: h2", `edge.http2 = "h2": is text, not true or false`},
		{"no pair", "tls: {certificates: [{certificate: a}]}", `edge.tls.certificates[0].key: is missing`},
		{"no pairs", "tls: {certificates: [a.pem]}", `edge.tls.certificates[0] = "a.pem": is text, not a section of keys`},
		{"pair twice", "tls: {certificates: [{certificate: a, key: b}, {certificate: a, key: b}]}", `edge.tls.certificates[1]: is given twice`},
		{"no such demand", "tls: {" + pair + ", client_certificates: verify}", `edge.tls.client_certificates = "verify": is none of none, request, require`},
		{"demand without TLS", "tls: {clients: c, client_certificates: require}", `edge.tls.client_certificates = "require": asks for certificates where no TLS is spoken`},
		{"demand without CA", "tls: {" + pair + ", client_certificates: request}", `edge.tls.client_certificates = "request": asks for certificates that nobody can vouch for`},
		{"CA without demand", "tls: {" + pair + ", clients: c}", `edge.tls.clients: vouches for certificates that nobody is asked for`},
		{"connections", "limits: {connections: 0}", `edge.limits.connections = "0": is out of range`},
		{"head", "limits: {header_bytes: 512}", `edge.limits.header_bytes = "512": is out of range; write a size from 1KiB to 16MiB`},
		{"body", "limits: {body: -1}", `edge.limits.body = "-1": is no size`},
		{"stall", "limits: {body_stall: 0s}", `edge.limits.body_stall = "0s": is not a duration above zero`},
		{"tunnel", "limits: {tunnel_idle: -1s}", `edge.limits.tunnel_idle = "-1s": is a duration below zero`},
		{"drain", "drain: {grace: 0s}", `edge.drain.grace = "0s": is not a duration above zero`},
		{"unknown", "limits: {conections: 1}", `edge.limits.conections: is an unknown key; did you mean connections?`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, problems := load("c.yaml", []byte(least+"edge: {"+row.keys+"}\n"))
			if len(problems) != 1 {
				t.Fatalf("want one problem, got %d: %v", len(problems), problems)
			}
			if got := problems[0].String(); !strings.HasPrefix(got, "c.yaml:2: ") || !strings.Contains(got, row.want) || problems[0].Mend == "" {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}
