package config

import (
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

const least = "legacy: {endpoints: [http://127.0.0.1:9000]}\n"

var defaultEdge = Edge{
	Override: "X-Strangler-Side", HTTP2: true, TLS: EdgeTLS{ClientCertificates: ClientsNone},
	Limits: Limits{Connections: 10_000, HeaderBytes: 64 << 10, HeaderTime: 10 * time.Second, BodyStall: 30 * time.Second,
		WriteStall: 30 * time.Second, Idle: 2 * time.Minute},
	Drain: Drain{Delay: 500 * time.Millisecond, Grace: 10 * time.Second},
}

func TestConfigDefaults(t *testing.T) {
	c, problems := load("/etc/s/config.yaml", []byte(least))
	want := Config{
		File: "/etc/s/config.yaml", Listen: ":8080", Admin: "127.0.0.1:8090",
		Legacy: Legacy{Upstream: capability.Upstream{Endpoints: []string{"http://127.0.0.1:9000"}}},
		Edge:   defaultEdge, Store: StoreFiles, Routes: "/etc/s/routes", State: "/etc/s/.strangler", Switch: capability.DefaultTimes(), Leases: DefaultLeases(),
		Hold: Hold{Requests: 1000, Bytes: 64 << 20, Release: 1000}, Restraint: capability.DefaultRestraint(), Log: Log{Format: "json", Access: true},
	}
	if len(problems) > 0 || !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v\nproblems %v", c, want, problems)
	}
}

func TestConfigWhole(t *testing.T) {
	t.Setenv("TOKEN", "geheim")
	t.Setenv("CERTS", "/certs")
	c, problems := load("conf/config.yaml", []byte(`
listen: 127.0.0.1:0
admin: 127.0.0.1:0
advertise: strangler-1:8090
zone: eu-1a
store: consul
legacy:
  consul: monolith
  database: "host=h dbname=d"
  protocol: h2
  tls: {ca: ca.pem, certificate: c.pem, key: "${CERTS}/k.pem", server_name: Legacy.internal}
  check: {path: "/healthz?deep=1", every: 1s, timeout: 1s, healthy: 1, unhealthy: 5}
  ejection: {failures: 2, for: 3s, most: 25%}
  slow_start: 30s
  rewrite: {prefix: /shop, to: /, host: "legacy.internal:81", cookie_domain: Shop.example.com}
  timeout: 1m
  allow: [encoded-slash, dot-segments]
  concurrency: {requests: 2000, queue: 500, wait: 1s}
edge:
  trusted: [10.0.0.0/8, 127.0.0.1, "2001:db8::/32"]
  drop_headers: [x-remote-user, Remote-User]
  override: x-side
  http2: false
  tls:
    certificates: [{certificate: a.pem, key: a.key}, {certificate: /b.pem, key: /b.key}]
    clients: clients.pem
    client_certificates: require
  limits: {connections: 5, header_bytes: 1KiB, header_time: 1s, body: 10MiB, body_stall: 2s, write_stall: 3s, idle: 4s, tunnel_idle: 5s}
  drain: {delay: 6s, grace: 7s}
routes: /r
state: /s
consul: {address: c:8500, token: "${TOKEN}", prefix: /team/strangler/, datacenter: dc2, tls: {ca: consul.pem}, stale: 1s, service: ""}
switch: {gap: 1s, lease: 2s, age: 3s}
leases: {controller: 2s, proxy: 4s}
hold: {requests: 5, bytes: 1KiB, release: 200}
mover: {rate: 500, replica_lag: 0s, busy: 20, headroom: 0, retain: 1GiB}
log: {level: debug, format: text, access: false}
`))
	want := Config{
		File: "conf/config.yaml", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Advertise: "strangler-1:8090", Zone: "eu-1a", Store: StoreConsul,
		Legacy: Legacy{
			Upstream: capability.Upstream{
				Consul: "monolith", Protocol: capability.ProtocolHTTP2,
				TLS:       capability.UpstreamTLS{CA: "conf/ca.pem", Certificate: "conf/c.pem", Key: "/certs/k.pem", ServerName: "legacy.internal"},
				Check:     capability.Check{Path: "/healthz?deep=1", Every: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 5},
				Ejection:  capability.Ejection{Failures: 2, For: 3 * time.Second, Most: 2500},
				SlowStart: 30 * time.Second,
				Rewrite:   capability.Rewrite{Prefix: "/shop", To: "/", Host: "legacy.internal:81", CookieDomain: "shop.example.com"},
			},
			Database: "host=h dbname=d", Timeout: time.Minute,
			Allow:       []capability.Oddity{capability.EncodedSlash, capability.DotSegments},
			Concurrency: &capability.Concurrency{Requests: 2000, Queue: 500, Wait: time.Second},
		},
		Edge: Edge{
			Trusted: []string{"10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32"}, Override: "X-Side",
			DropHeaders: []string{"X-Remote-User", "Remote-User"},
			TLS: EdgeTLS{
				Certificates: []Certificate{{"conf/a.pem", "conf/a.key"}, {"/b.pem", "/b.key"}},
				Clients:      "conf/clients.pem", ClientCertificates: ClientsRequire,
			},
			Limits: Limits{Connections: 5, HeaderBytes: 1024, HeaderTime: time.Second, Body: 10 << 20, BodyStall: 2 * time.Second,
				WriteStall: 3 * time.Second, Idle: 4 * time.Second, TunnelIdle: 5 * time.Second},
			Drain: Drain{Delay: 6 * time.Second, Grace: 7 * time.Second},
		},
		Routes: "/r", State: "/s",
		Consul: &Consul{
			Address: "https://c:8500", Token: "geheim", Prefix: "team/strangler", Datacenter: "dc2",
			TLS: capability.UpstreamTLS{CA: "conf/consul.pem"}, Stale: time.Second,
		},
		Switch: capability.Times{Gap: time.Second, Lease: 2 * time.Second, Age: 3 * time.Second}, Leases: Leases{Controller: 2 * time.Second, Proxy: 4 * time.Second},
		Hold: Hold{Requests: 5, Bytes: 1024, Release: 200}, Rate: 500, Restraint: capability.Restraint{Busy: 20, Retain: 1 << 30},
		Log: Log{Level: slog.LevelDebug, Format: "text"},
	}
	if len(problems) > 0 || !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v %+v\nwant %+v %+v\nproblems %v", c, c.Consul, want, want.Consul, problems)
	}
}

// A section that says nothing has its defaults; one that is not there is none.
func TestConfigEmptySections(t *testing.T) {
	c, problems := load("config.yaml", []byte("legacy: {endpoints: [http://a:1], concurrency: {}, ejection: off}\nconsul: {}\nedge: {override: ''}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if want := (Consul{Address: "127.0.0.1:8500", Prefix: "strangler", Stale: 10 * time.Second, Service: "strangler"}); c.Consul == nil || *c.Consul != want {
		t.Errorf("consul is %+v", c.Consul)
	}
	if c.Legacy.Concurrency == nil || *c.Legacy.Concurrency != (capability.Concurrency{}) || !c.Legacy.Upstream.Ejection.Off || c.Edge.Override != "" {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironmentWins(t *testing.T) {
	t.Setenv("STRANGLER_LISTEN", "127.0.0.1:1234")
	t.Setenv("STRANGLER_LEGACY_ENDPOINTS", "http://a:1, http://b:2")
	t.Setenv("STRANGLER_LEGACY_DATABASE", "postgres://u:${X}@h/d") // taken as it is
	t.Setenv("STRANGLER_HOLD_REQUESTS", "7")
	t.Setenv("STRANGLER_LOG_ACCESS", "false")
	t.Setenv("STRANGLER_CONSUL_ADDRESS", "c:8500")
	t.Setenv("STRANGLER_CONSUL_TLS_CA", "ca.pem")
	t.Setenv("STRANGLER_EDGE_TRUSTED", "10.0.0.0/8,::1")
	t.Setenv("STRANGLER_EDGE_LIMITS_BODY", "1MiB")
	t.Setenv("STRANGLER_LEGACY_EJECTION", "off")
	t.Setenv("STRANGLER_LEGACY_CHECK_PATH", "/up")
	t.Setenv("STRANGLER_LEGACY_CONCURRENCY_QUEUE", "9")
	t.Setenv("STRANGLER_EDGE", "the name of a section, which is nobody's variable")
	t.Setenv("STRANGLER_ADMIN", "")
	c, problems := load("/etc/config.yaml", []byte("listen: 127.0.0.1:8080\nedge: {http2: false}\n"+least))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.Listen != "127.0.0.1:1234" || strings.Join(c.Legacy.Upstream.Endpoints, " ") != "http://a:1 http://b:2" ||
		c.Legacy.Database != "postgres://u:${X}@h/d" || c.Hold.Requests != 7 || c.Log.Access || c.Consul == nil || c.Consul.Address != "https://c:8500" {
		t.Errorf("got %+v", c)
	}
	if strings.Join(c.Edge.Trusted, " ") != "10.0.0.0/8 ::1/128" || c.Edge.Limits.Body != 1<<20 || c.Edge.HTTP2 || c.Admin != "127.0.0.1:8090" ||
		!c.Legacy.Upstream.Ejection.Off || c.Legacy.Upstream.Check.Path != "/up" || c.Legacy.Concurrency == nil || c.Legacy.Concurrency.Queue != 9 ||
		c.Consul.TLS.CA != "/etc/ca.pem" || c.Consul.Service != "strangler" {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironmentProblems(t *testing.T) {
	t.Setenv("STRANGLER_ADMIN", "nowhere")
	t.Setenv("STRANGLER_HOLD_REQUESTS", "many")
	t.Setenv("STRANGLER_EDGE_TLS_CERTIFICATES", "a.pem")
	t.Setenv("STRANGLER_EDGE_TRUSTED", "10.0.0.0/8,here")
	_, problems := load("config.yaml", []byte(least))
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	want := []string{
		`$STRANGLER_ADMIN = "nowhere": is no address`,
		`$STRANGLER_EDGE_TRUSTED = "here": is no address and no network`,
		`$STRANGLER_EDGE_TLS_CERTIFICATES = "a.pem": cannot be given by the environment`,
		`$STRANGLER_HOLD_REQUESTS = "many": is out of range`,
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("got %q", got)
	}
}

func TestConfigProblems(t *testing.T) {
	for _, row := range []struct{ name, content, want string }{
		{"unknown key", least + "lisen: x\n", `c.yaml:2: lisen: is an unknown key; did you mean listen?`},
		{"case counts", least + "Listen: ':80'\n", `c.yaml:2: Listen: is an unknown key; did you mean listen?`},
		{"unknown inner key", least + "log:\n  levle: info\n", `c.yaml:3: log.levle: is an unknown key; did you mean level?`},
		{"no address", least + "listen: 8080\n", `c.yaml:2: listen = "8080": is a number, not text`},
		{"no port", least + "listen: localhost\n", `c.yaml:2: listen = "localhost": is no address to listen on`},
		{"one address for both", least + "admin: :8080\n", `c.yaml:2: admin = ":8080": is the address for clients as well`},
		{"no monolith", "listen: ':80'\n", `legacy: has no addresses`},
		{"both", "legacy: {consul: m, endpoints: [http://a:1]}\nconsul: {address: 'c:8500'}\n", `c.yaml:1: legacy: has endpoints and a consul service`},
		{"consul without consul", "legacy:\n  consul: m\n", `c.yaml:2: legacy.consul = "m": names a service, but there is no consul section`},
		{"endpoint", "legacy:\n  endpoints:\n    - http://a:1\n    - b:2\n", `c.yaml:4: legacy.endpoints[1] = "b:2": is no absolute http or https URL`},
		{"times", least + "switch: {lease: 1s}\n", `c.yaml:2: switch = "3s, 1s, 8s": the times of a switch must nest`},
		{"leases.proxy", least + "leases: {proxy: 900ms}\n", `c.yaml:2: leases.proxy = "900ms": is a lease that is too short to be renewed, or too long to wait for; write a duration from 1s to 5m`},
		{"advertise", least + "advertise: ':8090'\n", `c.yaml:2: advertise = ":8090": is no address that others could reach; write host:port, as in 10.0.0.7:8090`},
		{"hold.age", least + "hold: {age: 8s}\n", `c.yaml:2: hold.age = "8s": is one of the times that must nest; write it as switch.age`},
		{"size", least + "hold: {bytes: 64MB}\n", `c.yaml:2: hold.bytes = "64MB": is no size; write`},
		{"no bytes", least + "hold: {bytes: 0}\n", `c.yaml:2: hold.bytes = "0": is no size above zero`},
		{"too large a size", least + "hold: {bytes: 9999999999GiB}\n", `hold.bytes = "9999999999GiB": is no size`},
		{"variable", "legacy:\n  endpoints: [http://a:1]\n  database: ${NOT_SET_ANYWHERE}\n", `c.yaml:3: legacy.database: names the variable NOT_SET_ANYWHERE, which is not set; set the variable`},
		{"level", least + "log: {level: trace}\n", `c.yaml:2: log.level = "trace": is none of debug, info, warn, error`},
		{"access", least + "log: {access: yes}\n", `c.yaml:2: log.access = "yes": is text, not true or false`},
		{"rate", least + "mover: {rate: 0}\n", `c.yaml:2: mover.rate = "0": is out of range`},
		{"a section is a list", least + "log: [json]\n", `c.yaml:2: log: is a list, not a section of keys`},
		{"no section", "legacy: [x]\n", `c.yaml:1: legacy: is a list, not a section of keys`},
		{"zone", least + "zone: a b\n", `c.yaml:2: zone = "a b": is no name of a zone`},
		{"store", least + "store: etcd\n", `c.yaml:2: store = "etcd": is none of files, consul`},
		{"store without consul", least + "store: consul\n", `c.yaml:2: store = "consul": needs the consul section`},
		{"unclaimed timeout", "legacy: {endpoints: [http://a:1], timeout: -1s}\n", `legacy.timeout = "-1s": is a duration below zero`},
		{"unclaimed queue", "legacy: {endpoints: [http://a:1], concurrency: {queue: 0}}\n", `legacy.concurrency.queue = "0": is out of range; write a whole number from 1`},
		{"unclaimed oddity", "legacy: {endpoints: [http://a:1], allow: [slash]}\n", `legacy.allow[0] = "slash": is none of encoded-slash, encoded-backslash`},
		{"ejection of another word", "legacy: {endpoints: [http://a:1], ejection: none}\n", `legacy.ejection = "none": is none of off`},
		{"ejection false", "legacy: {endpoints: [http://a:1], ejection: false}\n", `legacy.ejection = "false": is true or false, not text`},
		{"ejection.off", "legacy: {endpoints: [http://a:1], ejection: {off: true}}\n", `legacy.ejection.off: is an unknown key; `},
		{"legacy check", "legacy: {endpoints: [http://a:1], check: {every: 1s}}\n", `legacy.check.path: is missing`},
		{"consul's TLS", least + "consul: {address: 'http://c:8500', tls: {ca: a}}\n", `c.yaml:2: consul.tls: is of no use: the address is one of http`},
		{"consul's pair", least + "consul: {tls: {certificate: a}}\n", `c.yaml:2: consul.tls.certificate: has no key`},
		{"stale", least + "consul: {stale: 0s}\n", `c.yaml:2: consul.stale = "0s": is not a duration above zero`},
		{"agent", least + "consul: {address: c}\n", `c.yaml:2: consul.address = "c": is no address of a Consul agent`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, problems := load("c.yaml", []byte(row.content))
			if len(problems) != 1 {
				t.Fatalf("want one problem, got %d: %v", len(problems), problems)
			}
			if got := problems[0].String(); !strings.Contains(got, row.want) || problems[0].Mend == "" {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestConfigListsEverything(t *testing.T) {
	_, problems := load("c.yaml", []byte("listen: x\nlegacy: {database: ftp://x}\nhold: {requests: 0, size: 1}\nswitch: {gap: 9s}\n"))
	var paths []string
	for _, p := range problems {
		paths = append(paths, p.Path)
	}
	if got := strings.Join(paths, " "); got != "listen legacy.database legacy hold.size hold.requests switch" {
		t.Errorf("got %s", got)
	}
}

func TestConfigMissing(t *testing.T) {
	_, problems := Load("nowhere.yaml")
	if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), "nowhere.yaml: cannot be read: no such file") {
		t.Errorf("got %v", problems)
	}
	_, empty := load("c.yaml", []byte("# nothing yet\n"))
	for _, p := range append(problems, empty...) {
		if !strings.Contains(p.Mend, "`legacy: {endpoints: [http://127.0.0.1:9000]}`") {
			t.Errorf("a newcomer is not told what to write: %s", p)
		}
	}
}
