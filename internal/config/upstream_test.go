package config

import (
	"strings"
	"testing"

	"strangler/capability"
)

// extractedOf is the smallest document with this extracted side, in line 3.
func extractedOf(keys string) string {
	return "capability: orders\nroutes: [{path: /a}]\nextracted: {" + keys + "}\n"
}

const plain, secure = "endpoints: [http://a:1], ", "endpoints: [https://a:1], "

func TestUpstreamProblems(t *testing.T) {
	for _, row := range []struct{ name, keys, want string }{
		{"protocol", plain + "protocol: http2", `extracted.protocol = "http2": is none of auto, http1, h2, h2c; did you mean http1?`},
		{"h2 without TLS", "endpoints: [https://a:1, http://b:1], protocol: h2", `extracted.protocol = "h2": is HTTP/2 over TLS, and http://b:1 has none; write https endpoints, or h2c`},
		{"h2c with TLS", "endpoints: [http://a:1, https://b:1], protocol: h2c", `extracted.protocol = "h2c": is HTTP/2 without TLS, and there are https endpoints`},
		{"TLS for nobody", plain + "tls: {ca: a}", `extracted.tls: is of no use: no endpoint is one of https`},
		{"TLS with h2c", "consul: a, protocol: h2c, tls: {ca: a}", `extracted.tls: is of no use with protocol h2c`},
		{"certificate without key", secure + "tls: {certificate: a}", `extracted.tls.certificate: has no key`},
		{"key without certificate", secure + "tls: {key: a}", `extracted.tls.key: has no certificate`},
		{"server's name", secure + "tls: {server_name: 'a:1'}", `extracted.tls.server_name = "a:1": is no host`},
		{"no path to check", plain + "check: {every: 1s}", `extracted.check.path: is missing`},
		{"empty check", plain + "check: {}", `extracted.check.path: is missing`},
		{"path to check", plain + "check: {path: healthz}", `extracted.check.path = "healthz": is no path to ask for`},
		{"whole URL to check", plain + "check: {path: //a/b}", `is no path to ask for`},
		{"timeout of a check", plain + "check: {path: /, every: 2s, timeout: 3s}", `extracted.check.timeout: a check may last 3s and the next one comes after 2s; write a timeout of 2s at most`},
		{"timeout of a check, by default", plain + "check: {path: /, every: 500ms}", `extracted.check.every: a check may last 1s and the next one comes after 500ms`},
		{"interval by default", plain + "check: {path: /, timeout: 6s}", `extracted.check.timeout: a check may last 6s and the next one comes after 5s`},
		{"healthy", plain + "check: {path: /, healthy: 0}", `extracted.check.healthy = "0": is out of range; write a whole number from 1 to 1000`},
		{"ejection", plain + "ejection: of", `extracted.ejection = "of": is none of off; did you mean off?`},
		{"ejection of nobody", plain + "ejection: {most: 0%}", `extracted.ejection.most = "0%": is nothing at all; write ejection: off`},
		{"ejection off inside", plain + "ejection: {off: true}", `extracted.ejection.off: is an unknown key`},
		{"slow start", plain + "slow_start: -1s", `extracted.slow_start = "-1s": is a duration below zero`},
		{"prefix alone", plain + "rewrite: {prefix: /a}", `extracted.rewrite: has a prefix and no to; write both`},
		{"to alone", plain + "rewrite: {to: /a}", `extracted.rewrite: has a to and no prefix; write both`},
		{"to itself", plain + "rewrite: {prefix: /a, to: /a}", `extracted.rewrite.to = "/a": is the prefix itself`},
		{"root as prefix", plain + "rewrite: {prefix: /, to: /a}", `extracted.rewrite.prefix = "/": has an empty segment`},
		{"half a segment", plain + "rewrite: {prefix: /a/, to: /b}", `extracted.rewrite.prefix = "/a/": has an empty segment`},
		{"prefix without slash", plain + "rewrite: {prefix: a, to: /b}", `extracted.rewrite.prefix = "a": does not begin with a slash`},
		{"dots", plain + "rewrite: {prefix: /a, to: /b/..}", `extracted.rewrite.to = "/b/..": has a dot segment`},
		{"template", plain + "rewrite: {prefix: '/a/{id}', to: /b}", `extracted.rewrite.prefix = "/a/{id}": is no beginning of a path`},
		{"escape", plain + "rewrite: {prefix: /a%2F, to: /b}", `is no beginning of a path`},
		{"host", plain + "rewrite: {host: 'a:b'}", `extracted.rewrite.host = "a:b": is no host`},
		{"host with a star", plain + "rewrite: {host: '*.a'}", `extracted.rewrite.host = "*.a": is no host`},
		{"cookie's domain", plain + "rewrite: {cookie_domain: .a.b}", `extracted.rewrite.cookie_domain = ".a.b": is no domain; write it without a dot in front`},
		{"unknown inside", plain + "tls: {cert: a}", `extracted.tls.cert: is an unknown key; `},
	} {
		t.Run(row.name, func(t *testing.T) { wantProblem(t, extractedOf(row.keys), "f.yaml:3: ", row.want) })
	}
}

func TestUpstreamAccepts(t *testing.T) {
	for _, keys := range []string{
		secure + "protocol: h2", plain + "protocol: h2c", "endpoints: [http://a:1, https://b:1], protocol: auto, tls: {ca: a}",
		"consul: a, protocol: h2", "consul: a, protocol: h2c", "consul: a, tls: {certificate: a, key: b}", secure + "tls: {}",
		plain + "check: {path: /, every: 1s}", plain + "ejection: {}", plain + "rewrite: {}", plain + "rewrite: {host: '[::1]:80'}",
		secure + "tls: {server_name: '[::1]'}",
	} {
		if _, problems := document("f.yaml", []byte(extractedOf(keys)), environment); len(problems) > 0 {
			t.Errorf("%s: %v", keys, problems)
		}
	}
}

// Both files read a side in the same way.
func TestLegacyIsReadLikeExtracted(t *testing.T) {
	const keys = "endpoints: [https://a:1], protocol: h2, tls: {ca: a, certificate: b, key: c, server_name: d}, check: {path: /, every: 9s, timeout: 8s, healthy: 7, unhealthy: 6}, " +
		"ejection: {failures: 5, for: 4s, most: 3%}, slow_start: 2s, rewrite: {prefix: /a, to: /b, host: c, cookie_domain: d}"
	d, problems := document("d/f.yaml", []byte(extractedOf(keys)), environment)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c, problems := load("d/config.yaml", []byte("legacy: {"+keys+"}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	one, other := c.Legacy.Upstream, d.Extracted
	if strings.Join(one.Endpoints, " ") != strings.Join(other.Endpoints, " ") || one.Endpoints == nil {
		t.Errorf("endpoints %v and %v", one.Endpoints, other.Endpoints)
	}
	if one.TLS != other.TLS || one.Check != other.Check || one.Ejection != other.Ejection || one.SlowStart != other.SlowStart ||
		one.Rewrite != other.Rewrite || one.Protocol != other.Protocol || one.Rewrite == (capability.Rewrite{}) {
		t.Errorf("legacy %+v\nextracted %+v", one, other)
	}
}
