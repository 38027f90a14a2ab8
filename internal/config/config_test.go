package config

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

const least = "legacy: {endpoints: [http://127.0.0.1:9000]}\n"

func TestConfigDefaults(t *testing.T) {
	c, problems := load("/etc/s/config.yaml", []byte(least))
	want := Config{
		File: "/etc/s/config.yaml", Listen: ":8080", Admin: "127.0.0.1:8090",
		Legacy: Legacy{Upstream: capability.Upstream{Endpoints: []string{"http://127.0.0.1:9000"}}},
		Routes: "/etc/s/routes", State: "/etc/s/.strangler", Switch: capability.DefaultTimes(),
		Hold: Hold{Requests: 1000, Bytes: 64 << 20}, Log: Log{Format: "json", Access: true},
	}
	if len(problems) > 0 || !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v\nproblems %v", c, want, problems)
	}
}

func TestConfigWhole(t *testing.T) {
	t.Setenv("TOKEN", "geheim")
	c, problems := load("config.yaml", []byte(`
listen: 127.0.0.1:0
admin: 127.0.0.1:0
legacy: {consul: monolith, database: "host=h dbname=d"}
routes: /r
state: /s
consul: {address: http://c:8500, token: "${TOKEN}", prefix: /team/strangler/, datacenter: dc2}
switch: {gap: 1s, lease: 2s, age: 3s}
hold: {requests: 5, bytes: 1KiB}
mover: {rate: 500}
log: {level: debug, format: text, access: false}
`))
	want := Config{
		File: "config.yaml", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0",
		Legacy: Legacy{Upstream: capability.Upstream{Consul: "monolith"}, Database: "host=h dbname=d"},
		Routes: "/r", State: "/s",
		Consul: &Consul{Address: "http://c:8500", Token: "geheim", Prefix: "team/strangler", Datacenter: "dc2"},
		Switch: capability.Times{Gap: time.Second, Lease: 2 * time.Second, Age: 3 * time.Second},
		Hold:   Hold{Requests: 5, Bytes: 1024}, Rate: 500,
		Log: Log{Level: slog.LevelDebug, Format: "text"},
	}
	if len(problems) > 0 || !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v %+v\nwant %+v\nproblems %v", c, c.Consul, want, problems)
	}
}

func TestEnvironmentWins(t *testing.T) {
	t.Setenv("STRANGLER_LISTEN", "127.0.0.1:1234")
	t.Setenv("STRANGLER_LEGACY_ENDPOINTS", "http://a:1, http://b:2")
	t.Setenv("STRANGLER_LEGACY_DATABASE", "postgres://u:${X}@h/d") // taken as it is
	t.Setenv("STRANGLER_HOLD_REQUESTS", "7")
	t.Setenv("STRANGLER_LOG_ACCESS", "false")
	t.Setenv("STRANGLER_CONSUL_ADDRESS", "c:8500")
	c, problems := load("config.yaml", []byte("listen: 127.0.0.1:8080\n"+least))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.Listen != "127.0.0.1:1234" || strings.Join(c.Legacy.Upstream.Endpoints, " ") != "http://a:1 http://b:2" ||
		c.Legacy.Database != "postgres://u:${X}@h/d" || c.Hold.Requests != 7 || c.Log.Access || c.Consul == nil || c.Consul.Address != "c:8500" {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironmentProblems(t *testing.T) {
	t.Setenv("STRANGLER_ADMIN", "nowhere")
	t.Setenv("STRANGLER_HOLD_REQUESTS", "many")
	_, problems := load("config.yaml", []byte(least))
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], `$STRANGLER_ADMIN = "nowhere": is no address`) || !strings.HasPrefix(got[1], `$STRANGLER_HOLD_REQUESTS = "many": is out of range`) {
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
		{"hold.age", least + "hold: {age: 8s}\n", `c.yaml:2: hold.age = "8s": is one of the times that must nest; write it as switch.age`},
		{"size", least + "hold: {bytes: 64MB}\n", `c.yaml:2: hold.bytes = "64MB": is no size above zero`},
		{"too large a size", least + "hold: {bytes: 9999999999GiB}\n", `hold.bytes = "9999999999GiB": is no size`},
		{"variable", "legacy:\n  endpoints: [http://a:1]\n  database: ${NOT_SET_ANYWHERE}\n", `c.yaml:3: legacy.database: names the variable NOT_SET_ANYWHERE, which is not set; set the variable`},
		{"level", least + "log: {level: trace}\n", `c.yaml:2: log.level = "trace": is none of debug, info, warn, error`},
		{"access", least + "log: {access: yes}\n", `c.yaml:2: log.access = "yes": is text, not true or false`},
		{"rate", least + "mover: {rate: 0}\n", `c.yaml:2: mover.rate = "0": is out of range`},
		{"a section is a list", least + "log: [json]\n", `c.yaml:2: log: is a list, not a section of keys`},
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
	if got := strings.Join(paths, " "); got != "hold.size listen legacy.database hold.requests legacy switch" {
		t.Errorf("got %s", got)
	}
}

func TestConfigMissing(t *testing.T) {
	_, problems := Load("nowhere.yaml")
	if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), "nowhere.yaml: cannot be read: no such file") {
		t.Errorf("got %v", problems)
	}
}
