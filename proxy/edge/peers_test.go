package edge

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func peers(t testing.TB, list ...string) Peers {
	t.Helper()
	p, err := ParsePeers(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParsePeersReportsEveryBadOne(t *testing.T) {
	bad := []string{"10.0.0.0/33", "10.0.0.1/8", "host", "", "fe80::1%eth0", "::ffff:0:0/95", "10.0.0.0/8,127.0.0.1"}
	_, err := ParsePeers(append([]string{"10.0.0.0/8"}, bad...))
	if err == nil {
		t.Fatal("accepted")
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != len(bad) {
		t.Errorf("%d problems of %d:\n%v", n, len(bad), err)
	}
}

func TestPeersContain(t *testing.T) {
	p := peers(t, "10.0.0.0/8", "127.0.0.1", "fd00::/8", "::ffff:192.168.0.0/112", "::ffff:1.2.3.4")
	for a, want := range map[string]bool{
		"10.1.2.3": true, "11.0.0.0": false, "127.0.0.1": true, "127.0.0.2": false, "::ffff:10.1.2.3": true,
		"fd12::1": true, "fd12::1%eth0": true, "fe80::1": false, "192.168.255.1": true, "192.169.0.0": false, "1.2.3.4": true, "::1": false,
	} {
		if got := p.Contains(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
	if p.Contains(netip.Addr{}) || (Peers{}).Contains(netip.MustParseAddr("127.0.0.1")) {
		t.Error("believes what is no address, or without having been told")
	}
}

func TestClient(t *testing.T) {
	p := peers(t, "10.0.0.0/8", "fd00::/8")
	for name, c := range map[string]struct {
		remote string
		header http.Header
		tls    bool
		want   Client
	}{
		"alone":                {remote: "192.0.2.1:1234", want: Client{Address: "192.0.2.1", Proto: "http", Host: "shop"}},
		"over TLS":             {remote: "192.0.2.1:1234", tls: true, want: Client{Address: "192.0.2.1", Proto: "https", Host: "shop"}},
		"with a zone":          {remote: "[fe80::1%eth0]:1", want: Client{Address: "fe80::1", Proto: "http", Host: "shop"}},
		"IPv4 in IPv6":         {remote: "[::ffff:192.0.2.1]:1", want: Client{Address: "192.0.2.1", Proto: "http", Host: "shop"}},
		"trusted in IPv6":      {remote: "[::ffff:10.0.0.1]:1", want: Client{Address: "10.0.0.1", Proto: "http", Host: "shop", Trusted: true}},
		"Unix socket":          {remote: "@", want: Client{Address: "unix", Proto: "http", Host: "shop"}},
		"nonsense":             {remote: "nonsense", want: Client{Proto: "http", Host: "shop"}},
		"liar":                 {remote: "192.0.2.1:1", header: http.Header{"X-Forwarded-For": {"10.9.9.9"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil"}}, want: Client{Address: "192.0.2.1", Proto: "http", Host: "shop"}},
		"one hop":              {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"HTTPS"}, "X-Forwarded-Host": {"shop.example"}}, want: Client{Address: "192.0.2.7", Proto: "https", Host: "shop.example", Trusted: true}},
		"two hops":             {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"1.1.1.1, 192.0.2.7", "10.0.0.2"}}, want: Client{Address: "192.0.2.7", Proto: "http", Host: "shop", Trusted: true}},
		"liar behind a hop":    {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"10.0.0.3, 192.0.2.7"}}, want: Client{Address: "192.0.2.7", Proto: "http", Host: "shop", Trusted: true}},
		"all trusted":          {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"10.0.0.9,10.0.0.2"}}, want: Client{Address: "10.0.0.9", Proto: "http", Host: "shop", Trusted: true}},
		"junk in the chain":    {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7, unknown, 10.0.0.2"}}, want: Client{Address: "10.0.0.2", Proto: "http", Host: "shop", Trusted: true}},
		"empty chain":          {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {""}}, want: Client{Address: "10.0.0.1", Proto: "http", Host: "shop", Trusted: true}},
		"with ports":           {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7:99, [fd00::2]:1, [fd00::3]"}}, want: Client{Address: "192.0.2.7", Proto: "http", Host: "shop", Trusted: true}},
		"Forwarded":            {remote: "10.0.0.1:1", header: http.Header{"Forwarded": {`for="[2001:db8::1]:47";proto=https;host="a.example", for=10.0.0.2;Proto=https;Host=a.example`}}, want: Client{Address: "2001:db8::1", Proto: "https", Host: "a.example", Trusted: true}},
		"obfuscated":           {remote: "10.0.0.1:1", header: http.Header{"Forwarded": {`for=_hidden, for=10.0.0.2`}}, want: Client{Address: "10.0.0.2", Proto: "http", Host: "shop", Trusted: true}},
		"quoted comma":         {remote: "10.0.0.1:1", header: http.Header{"Forwarded": {`for=1.2.3.4, for="a, for=9.9.9.9"`}}, want: Client{Address: "10.0.0.1", Proto: "http", Host: "shop", Trusted: true}},
		"both":                 {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}, "Forwarded": {"for=192.0.2.8;host=other"}}, want: Client{Address: "192.0.2.7", Proto: "http", Host: "shop", Trusted: true}},
		"host that is no host": {remote: "10.0.0.1:1", header: http.Header{"X-Forwarded-Host": {"a/b"}, "X-Forwarded-Proto": {"ftp"}}, want: Client{Address: "10.0.0.1", Proto: "http", Host: "shop", Trusted: true}},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: c.header, Host: "shop"}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		got := p.Client(r)
		got.peer = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if c := peers(t, "unix").Client(&http.Request{RemoteAddr: "@", Header: http.Header{"X-Forwarded-For": {"192.0.2.7"}}}); c.Address != "192.0.2.7" || !c.Trusted {
		t.Errorf("a trusted Unix socket: %+v", c)
	}
}

func TestSetForwarded(t *testing.T) {
	p := peers(t, "10.0.0.0/8")
	for name, c := range map[string]struct {
		remote, host string
		in           http.Header
		want         [5]string // -For, -Proto, -Host, -Port, X-Real-Ip
	}{
		"stranger":       {"192.0.2.1:9", "shop", http.Header{"X-Real-Ip": {"1.1.1.1"}, "X-Forwarded-For": {"1.1.1.1"}}, [5]string{"192.0.2.1", "http", "shop", "80", "192.0.2.1"}},
		"port in host":   {"192.0.2.1:9", "shop:8080", nil, [5]string{"192.0.2.1", "http", "shop:8080", "8080", "192.0.2.1"}},
		"behind a hop":   {"10.0.0.1:9", "shop", http.Header{"X-Forwarded-For": {"1.1.1.1", "192.0.2.7"}, "X-Forwarded-Proto": {"https"}}, [5]string{"1.1.1.1, 192.0.2.7, 10.0.0.1", "https", "shop", "443", "192.0.2.7"}},
		"from Forwarded": {"10.0.0.1:9", "shop", http.Header{"Forwarded": {"for=192.0.2.7"}}, [5]string{"192.0.2.7, 10.0.0.1", "http", "shop", "80", "192.0.2.7"}},
		"Unix socket":    {"@", "shop", nil, [5]string{"", "http", "shop", "80", ""}},
	} {
		out := c.in.Clone()
		if out == nil {
			out = http.Header{}
		}
		p.Client(&http.Request{RemoteAddr: c.remote, Host: c.host, Header: c.in}).SetForwarded(out, c.in)
		var got [5]string
		for i, h := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-Ip"} {
			got[i] = strings.Join(out[h], "|")
		}
		if got != c.want || out["Forwarded"] != nil {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestScrub(t *testing.T) {
	forged := []string{"X-Forwarded-For", "X_forwarded_for", "X-Forwarded_host", "X_real_ip", "X-Real-Ip", "Forwarded", "X-Original-Url", "X_rewrite_url",
		"X-Scheme", "X-Forwarded-Tls-Client-Cert-Info", "x-forwarded-proto", "X_FORWARDED_PORT", "X-Forwarded-User", "X-Forwarded-Client-Cert", "X_forwarded_user",
		"True-Client-Ip", "Cf_connecting_ip", "Proxy", "Content_length", "Transfer_encoding",
		"Client-Ip", "Client_ip", "X-Client-Ip", "X-Forwarded", "X-Original-Host", "X-Host", "X-Rewrite-Url", "X-Azure-Clientip", "X-Remote-Addr", "X-Originating-Ip",
		"X-Cluster-Client-Ip", "Fastly-Client-Ip", "Forwarded-For", "X-Ssl-Client-Cert", "X-Ssl-Client-S-Dn", "Ssl-Client-Verify", "Ssl_client_s_dn", "Client-Cert",
		"Client-Cert-Chain", "X-Client-Cert", "X-Client-Cert-Leaf", "X-Arr-Clientcert", "X-Amzn-Oidc-Identity",
		"X-Strangler-Side", "X_strangler_side", "X-Strangler_gate", "X_request_id", "X-Request_id", "X-Tenant", "x_tenant",
		"Front-End-Https", "FRONT_END_HTTPS", "X-Url-Scheme", "X-Original-Uri", "X_original_uri", "X-Original-Method", "X-Proxyuser-Ip",
		"X-Forward-For", "X-Forward-Proto", "X-Http-Host-Override", "X-Tls-Client-Cert", "X_tls_client_verify", "X-Ssl-Cert", "X-Ssl-Subject",
		"Remote-User", "REMOTE_USER", "X-Remote-User", "X_remote_user", "Remote-Groups", "X-Remote-Group", "X-Remote-Extra-Scopes",
		"X-Envoy-External-Address", "X-Envoy-Original-Path", "X-Envoy-Internal", "X_envoy_peer_metadata", "X-Arr-Ssl",
		"Cf-Connecting-Ipv6", "Cf-Visitor", "Cf-Access-Authenticated-User-Email", "Fly-Client-Ip", "X-Appengine-User-Ip",
		"X-Ms-Client-Principal", "X-Ms-Client-Principal-Id", "X-Goog-Authenticated-User-Email",
		"X.forwarded.for", "X.Real-Ip", "X~forwarded!proto", "Remote.user", "X.strangler.side", "Content.length", "X.tenant"}
	kept := []string{"Content-Length", "Accept", "X-Request-Id", "Cookie", "Client", "X-Client", "Hosts", "Cert", "X-Ssl", "X-Requested-With", "X_request",
		"X-Http-Method-Override", "X-Original-Filename", "X-Remote", "X-Forward", "X-Envoy", "Remote", "Fronts", "X-Tls", "X-Csrf-Token", "X-Api-Key",
		"X-User", "X-Auth-Token", "Cf-Ipcountry", "X-Ms-Date", "X-Goog-Api-Key", "X-Amz-Date", "X-Correlation-Id", "Forward"}
	dropped := NewNames("X-TENANT")
	fill := func() http.Header {
		h := http.Header{}
		for _, n := range slices.Concat(forged, kept) {
			h[n] = []string{"a"}
		}
		return h
	}
	h := fill()
	Scrub(h, false, dropped)
	if len(h) != len(kept) {
		t.Errorf("of a stranger's: %v", h)
	}
	h = fill()
	Scrub(h, true, dropped)
	for n := range h {
		if strings.ContainsAny(n, "_.~") && n != "X_request" || strings.HasPrefix(n, "X-Strangler") {
			t.Errorf("of a trusted peer's: %s", n)
		}
	}
	for _, n := range []string{"X-Forwarded-For", "Forwarded", "Client-Cert", "X-Ssl-Client-Cert", "X-Tenant", "X-Remote-User", "X-Envoy-Original-Path", "Front-End-Https"} {
		if h[n] == nil {
			t.Errorf("a trusted peer's own %s is gone", n)
		}
	}
	h = fill()
	if Scrub(h, false, nil); h["X-Tenant"] == nil {
		t.Error("dropped without having been told")
	}
}

func TestNothingToDropCostsNothing(t *testing.T) {
	p := peers(t, "10.0.0.0/8")
	h := usual()
	r := &http.Request{RemoteAddr: "192.0.2.1:1234", Header: h, Host: "shop"}
	if n := testing.AllocsPerRun(100, func() { Scrub(h, false, nil); ScrubOurs(h, "") }); n != 0 {
		t.Errorf("Scrub allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = p.Client(r) }); n > 1 {
		t.Errorf("Client allocates %v times, one of them for the address", n)
	}
}

func usual() http.Header {
	return http.Header{"Accept": {"*/*"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"x"}, "Cookie": {"session=1"}, "Content-Type": {"application/json"},
		"X-Request-Id": {"1"}, "Traceparent": {"00"}, "Cache-Control": {"no-cache"}, "Accept-Language": {"de"}, "Origin": {"x"}}
}

func BenchmarkScrub(b *testing.B) {
	h := usual()
	for b.Loop() {
		Scrub(h, false, nil)
	}
}

func BenchmarkClient(b *testing.B) {
	p := peers(b, "10.0.0.0/8", "fd00::/8")
	for name, r := range map[string]*http.Request{
		"stranger": {RemoteAddr: "192.0.2.1:1234", Header: usual(), Host: "shop"},
		"two hops": {RemoteAddr: "10.0.0.1:1234", Header: http.Header{"X-Forwarded-For": {"192.0.2.7, 10.0.0.2"}}, Host: "shop"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = p.Client(r)
			}
		})
	}
}

// However a name is spelled, a backend that folds '_' and case must not read it as
// one that the proxy sets.
func FuzzScrub(f *testing.F) {
	for _, n := range []string{"X-Forwarded-For", "x_forwarded-for", "FORWARDED", "X_Real_Ip", "X-Forwarded-", "transfer_encoding", "x.forwarded~for"} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		// What lighttpd makes of it.
		variable := regexp.MustCompile("[^A-Z0-9]")
		cgi := variable.ReplaceAllString(strings.ToUpper(name), "_")
		forged := false
		for known := range forwardingNames {
			forged = forged || variable.ReplaceAllString(strings.ToUpper(known), "_") == cgi
		}
		for _, spelling := range []string{name, http.CanonicalHeaderKey(name)} {
			h := http.Header{spelling: {"a"}}
			Scrub(h, false, nil)
			if forged && ascii(name) && len(h) > 0 {
				t.Errorf("%q survives", spelling)
			}
			if h = (http.Header{spelling: {"a"}}); forged && ascii(name) && regexp.MustCompile("[^A-Za-z0-9-]").MatchString(name) {
				if Scrub(h, true, nil); len(h) > 0 {
					t.Errorf("%q of a trusted peer survives", spelling)
				}
			}
		}
	})
}

// ToUpper folds some letters beyond ASCII into it; header names are ASCII.
func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// The address is the peer's, or stands in the header with nothing but trusted
// addresses to its right.
func FuzzClient(f *testing.F) {
	f.Add("192.0.2.7, 10.0.0.2", "10.0.0.1:1")
	f.Add(`"a, 1.2.3.4`, "10.0.0.1:1")
	f.Add("[::ffff:10.0.0.1]:1,,", "[fe80::1%a]:1")
	p := peers(f, "10.0.0.0/8", "::1", "unix")
	f.Fuzz(func(t *testing.T, chain, remote string) {
		for _, header := range []string{"X-Forwarded-For", "Forwarded"} {
			c := p.Client(&http.Request{RemoteAddr: remote, Header: http.Header{header: {chain}}})
			if c.Address == c.peer {
				continue
			}
			if !c.Trusted {
				t.Fatalf("%q: believed a peer that is not trusted", remote)
			}
			if header != "X-Forwarded-For" {
				continue // shares the walk; its quoting has no second reader here
			}
			parts := strings.Split(chain, ",")
			for i := len(parts) - 1; ; i-- {
				if i < 0 {
					t.Fatalf("%q: %s stands nowhere", chain, c.Address)
				}
				a, ok := forwardedFor(parts[i])
				if !ok {
					t.Fatalf("%q: %s was not vouched for", chain, c.Address)
				}
				if a.String() == c.Address {
					break
				}
				if !p.Contains(a) {
					t.Fatalf("%q: %s is left of the stranger %s", chain, c.Address, a)
				}
			}
		}
	})
}
