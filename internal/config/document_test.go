package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

func environment(name string) (string, bool) {
	values := map[string]string{"URL": "postgres://u:geheim@h/d", "RATE": "500", "PORT": "9003"}
	value, ok := values[name]
	return value, ok
}

const smallest = "capability: orders\nroutes: [{path: /api/orders}]\nextracted: {endpoints: [http://127.0.0.1:9003]}\n"

func TestDocumentDefaults(t *testing.T) {
	d, problems := document("orders.yaml", []byte(smallest), environment)
	want := capability.Document{
		Name: "orders", File: "orders.yaml", Revision: revision([]byte(smallest)),
		Routes:    []capability.Route{{Path: "/api/orders", Line: 2}},
		Extracted: capability.Upstream{Endpoints: []string{"http://127.0.0.1:9003"}},
		Traffic:   capability.Traffic{Owner: capability.Legacy, Subject: capability.Subject{Kind: capability.SubjectMinted}, Salt: "orders"},
		Resilience: capability.Resilience{
			Timeout: 5 * time.Second, Retries: 1, Fallback: true, Streams: capability.StreamsDrain,
			Breaker: capability.Breaker{Ratio: 0.5, Requests: 10, Window: 10 * time.Second, OpenFor: 5 * time.Second, Trials: 3},
		},
	}
	if len(problems) > 0 || !reflect.DeepEqual(d, want) {
		t.Errorf("got %+v\nwant %+v\nproblems %v", d, want, problems)
	}
	if len(d.Revision) != 16 {
		t.Errorf("revision %q is not 16 characters", d.Revision)
	}
}

func TestWebhooksHaveATime(t *testing.T) {
	t.Parallel()
	d, problems := Document("f.yaml", []byte(smallest+"webhooks: {after: [http://a]}\ndata: {database: 'postgres://h/d', tables: [{table: a}]}\n"))
	if len(problems) > 0 || d.Webhooks.Timeout != 2*time.Second {
		t.Errorf("%+v, %v", d.Webhooks, problems)
	}
}

func TestDocumentWhole(t *testing.T) {
	content := `capability: orders
routes:
  - path: /api/orders/**
  - path: /api/search
    methods: [POST]
    class: read
    timeout: 250ms
  - path: /api/orders/**
    host: "*.Shop.example.com"
    headers: {x-tenant: acme, X-Beta: "*"}
    query: {version: "2", debug: "*"}
    allow: [encoded-slash]
    resilience: {timeout: 1s, retries: 0, fallback: none}
    body: 10MiB
extracted:
  consul: orders-v2
  protocol: http1
  tls: {ca: ca.pem, certificate: /c.pem, key: k.pem, server_name: orders.internal}
  check: {path: /healthz, every: 5s}
  ejection: off
  slow_start: 0s
  rewrite: {prefix: /api/orders, to: /v1, host: orders.internal, cookie_domain: shop.example.com}
traffic: {owner: extracted, weight: 0.01%, mirror: 100 %, subject: "header:x-user", salt: people, always: [alice, "bob@example.com"], never: ["*"]}
resilience:
  timeout: 2s
  retries: 0
  fallback: none
  streams: keep
  breaker: {ratio: 1, requests: 5, window: 1m, open_for: 1s, open_most: 1s, trials: 1, slow: 2s, slow_ratio: 0.25}
  concurrency: {requests: 200, queue: 50, wait: 200ms}
  budget: {share: 10%, least: 1}
breakers: {legacy: observe, extracted: open}
rollout: {steps: [1%, 100%], every: 1m}
data:
  state: running
  database: ${URL}
  rate: ${RATE}
  tables:
    - {table: sales.orders, as: orders}
    - {table: Invoice, as: invoices, columns: {InvoiceId: id}}
    - {table: countries, mode: copy}
    - table: people
      as: persons
      where: deleted_at IS NULL
      columns:
        born: birthday
        full_name:
          forward: "first || ' ' || last"
          reverse: {first: "split_part(full_name, ' ', 1)", last: "split_part(full_name, ' ', 2)"}
        origin: {constant: legacy}
        rank: {constant: 7}
      omit: [note]
      reverse: lossy
  border: [{constraint: payments_order_id_fkey, at_switch: drop}]
  sequences: {gap: 0, named: [{sequence: hibernate_sequence, as: service.order_numbers}, {sequence: other}]}
  capture: trigger
webhooks: {before: ["https://a.internal/hook?token=x"], after: [http://b:1/c, http://d], timeout: 5s}
`
	d, problems := document("routes/orders.yaml", []byte(content), environment)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := capability.Document{
		Name: "orders", File: "routes/orders.yaml", Revision: revision([]byte(content)),
		Routes: []capability.Route{
			{Path: "/api/orders/**", Line: 3},
			{Path: "/api/search", Methods: []string{"POST"}, Class: capability.Read, Timeout: 250 * time.Millisecond, Line: 4},
			{
				Path: "/api/orders/**", Host: "*.shop.example.com",
				Headers: []capability.Condition{{Name: "X-Tenant", Value: "acme"}, {Name: "X-Beta"}},
				Query:   []capability.Condition{{Name: "version", Value: "2"}, {Name: "debug"}},
				Allow:   []capability.Oddity{capability.EncodedSlash}, Timeout: time.Second, Retries: pointer(0), Fallback: pointer(false), Body: 10 << 20, Line: 8,
			},
		},
		Extracted: capability.Upstream{
			Consul: "orders-v2", Protocol: capability.ProtocolHTTP1,
			TLS:      capability.UpstreamTLS{CA: "routes/ca.pem", Certificate: "/c.pem", Key: "routes/k.pem", ServerName: "orders.internal"},
			Check:    capability.Check{Path: "/healthz", Every: 5 * time.Second},
			Ejection: capability.Ejection{Off: true},
			Rewrite:  capability.Rewrite{Prefix: "/api/orders", To: "/v1", Host: "orders.internal", CookieDomain: "shop.example.com"},
		},
		Traffic: capability.Traffic{
			Owner: capability.Extracted, Weight: 1, Mirror: 10_000,
			Subject: capability.Subject{Kind: capability.SubjectHeader, Name: "X-User"}, Salt: "people",
			Always: []string{"alice", "bob@example.com"}, Never: []string{"*"},
		},
		Resilience: capability.Resilience{
			Timeout: 2 * time.Second,
			Breaker: capability.Breaker{Ratio: 1, Requests: 5, Window: time.Minute, OpenFor: time.Second, OpenMost: time.Second, Trials: 1,
				Slow: 2 * time.Second, SlowRatio: 0.25},
			Concurrency: capability.Concurrency{Requests: 200, Queue: 50, Wait: 200 * time.Millisecond},
			Budget:      capability.Budget{Share: 1000, Least: 1},
			Streams:     capability.StreamsKeep,
		},
		Breakers: capability.BreakerModes{Legacy: capability.BreakerObserve, Extracted: capability.BreakerForced},
		Webhooks: capability.Webhooks{Before: []string{"https://a.internal/hook?token=x"}, After: []string{"http://b:1/c", "http://d"}, Timeout: 5 * time.Second},
		Rollout:  capability.Rollout{Steps: []capability.Weight{100, 10_000}, Every: time.Minute},
		Data: &capability.Data{
			State: capability.DataRunning, Database: "postgres://u:geheim@h/d", Capture: capability.CaptureTrigger, Rate: 500, TableLine: 39,
			Tables: []capability.Table{
				{Table: "sales.orders", As: "orders", Mode: capability.Move, Line: 39},
				{Table: "Invoice", As: "invoices", Mode: capability.Move, Columns: map[string]string{"InvoiceId": "id"}, Line: 40},
				{Table: "countries", As: "countries", Mode: capability.Copy, Line: 41},
				{Table: "people", As: "persons", Mode: capability.Move, Columns: map[string]string{"born": "birthday"}, Line: 42, Where: "deleted_at IS NULL", Omit: []string{"note"}, Lossy: true,
					Computed: []capability.Computed{
						{Column: "full_name", Forward: "first || ' ' || last", Reverse: []capability.Reverse{{Column: "first", SQL: "split_part(full_name, ' ', 1)"}, {Column: "last", SQL: "split_part(full_name, ' ', 2)"}}, Line: 48},
						{Column: "origin", Constant: "legacy", Line: 50},
						{Column: "rank", Constant: "7", Line: 51},
					}},
			},
			Border:    []capability.Border{{Constraint: "payments_order_id_fkey", AtSwitch: capability.BorderDrop, Line: 54}},
			Sequences: []capability.Sequence{{Sequence: "hibernate_sequence", As: "service.order_numbers", Line: 55}, {Sequence: "other", As: "other", Line: 55}},
		},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got  %+v\n%+v\nwant %+v\n%+v", d, d.Data, want, want.Data)
	}
}

// Who is always or never there is named as the proxy names addresses.
func TestAddressesOfSubjects(t *testing.T) {
	d, problems := document("f.yaml", []byte(smallest+"traffic: {subject: address, always: ['::ffff:192.0.2.7', '2001:DB8:0::1']}\n"), environment)
	if want := []string{"192.0.2.7", "2001:db8::1"}; len(problems) > 0 || !reflect.DeepEqual(d.Traffic.Always, want) {
		t.Errorf("got %v, %v", d.Traffic.Always, problems)
	}
	_, problems = document("f.yaml", []byte(smallest+"traffic: {subject: address, always: ['::1'], never: ['0::1']}\n"), environment)
	if len(problems) != 1 || problems[0].Path != "traffic.never[0]" {
		t.Errorf("got %v", problems)
	}
}

// Each row is a document with one thing wrong: what is said, in the form that
// editors jump to.
func TestDocumentProblems(t *testing.T) {
	for _, row := range []struct{ name, content, want string }{
		{"unknown key", smallest + "trafic: {weight: 1%}\n", `4: trafic: is an unknown key; did you mean traffic?`},
		{"unknown inner key", smallest + "traffic:\n  waight: 1%\n", `5: traffic.waight: is an unknown key; did you mean weight?`},
		{"far from any key", smallest + "zzzzzzzz: 1\n", `4: zzzzzzzz: is an unknown key; write one of capability, routes`},
		{"too much", smallest + "traffic: {weight: 101%}\n", `4: traffic.weight = "101%": is no share from 0% to 100%`},
		{"no percent", smallest + "traffic: {weight: 25}\n", `4: traffic.weight = "25": is a number, not a weight; write it in percent`},
		{"too fine", smallest + "traffic: {weight: 0.001%}\n", `4: traffic.weight = "0.001%": is no share`},
		{"auto", smallest + "traffic: {weight: auto}\n", `4: traffic.weight = "auto": is not there yet`},
		{"no side", smallest + "traffic: {owner: extract}\n", `4: traffic.owner = "extract": is none of legacy, extracted; did you mean extracted?`},
		{"claim without name", smallest + "traffic: {subject: 'claim:'}\n", `4: traffic.subject = "claim:": has no valid name`},
		{"claim", smallest + "traffic: {subject: 'claim:a b'}\n", `4: traffic.subject = "claim:a b": has no valid name`},
		{"header", smallest + "traffic: {subject: 'header:a b'}\n", `4: traffic.subject = "header:a b": names no header to go by: a b is no name of a header`},
		{"host as a header", smallest + "traffic: {subject: header:host}\n", `4: traffic.subject = "header:host": names no header to go by: host is no header here`},
		{"address with a name", smallest + "traffic: {subject: address:x}\n", `4: traffic.subject = "address:x": is no subject`},
		{"always and never", smallest + "traffic:\n  always: [a, b]\n  never: [c, b]\n", `6: traffic.never[1] = "b": is in traffic.always as well`},
		{"always twice", smallest + "traffic: {always: [a, a]}\n", `4: traffic.always[1] = "a": is given twice`},
		{"always a number", smallest + "traffic: {always: [42]}\n", `4: traffic.always[0] = "42": is a number, not text; put it in quotes`},
		{"no address", smallest + "traffic: {subject: address, never: [alice]}\n", `4: traffic.never = "alice": is no address, and the subject is one`},
		{"open_most", smallest + "resilience: {breaker: {open_most: 1s}}\n", `4: resilience.breaker.open_most = "1s": is less than open_for, 5s`},
		{"slow_ratio alone", smallest + "resilience: {breaker: {slow_ratio: 0.5}}\n", `4: resilience.breaker.slow_ratio: is a share of slow answers, and none is slow`},
		{"budget of nothing", smallest + "resilience: {budget: {share: 0%}}\n", `4: resilience.budget.share = "0%": is nothing at all; write resilience.retries: 0`},
		{"wait", smallest + "resilience: {concurrency: {wait: 0s}}\n", `4: resilience.concurrency.wait = "0s": is not a duration above zero`},
		{"mode", smallest + "breakers: {legacy: closed}\n", `4: breakers.legacy = "closed": is none of enforce, observe, disabled, open`},
		{"mode of nobody", smallest + "breakers: {monolith: open}\n", `4: breakers.monolith: is an unknown key; write one of legacy, extracted`},
		{"modes elsewhere", smallest + "resilience: {breakers: {legacy: open}}\n", `4: resilience.breakers: is the operator's, not a bound`},
		{"cookie without name", smallest + "traffic: {subject: 'cookie:'}\n", `4: traffic.subject = "cookie:": has no valid name`},
		{"twice", smallest + "capability: billing\n", `4: capability: is given twice, first in line 1; keep one`},
		{"empty", smallest + "traffic:\n  weight:\n", `5: traffic.weight: is empty`},
		{"empty section", smallest + "traffic:\n", `4: traffic: is empty`},
		{"list for section", smallest + "traffic: [1%]\n", `4: traffic: is a list, not a section of keys`},
		{"unit", smallest + "resilience: {timeout: 5}\n", `4: resilience.timeout = "5": is a number, not a duration`},
		{"negative", smallest + "resilience: {timeout: -5s}\n", `4: resilience.timeout = "-5s": is not a duration above zero`},
		{"retries", smallest + "resilience: {retries: -1}\n", `4: resilience.retries = "-1": is out of range; write a whole number from 0 to 10`},
		{"NaN", smallest + "resilience: {breaker: {ratio: .nan}}\n", `4: resilience.breaker.ratio = ".nan": is out of range`},
		{"streams", smallest + "resilience: {streams: cut}\n", `4: resilience.streams = "cut": is none of drain, keep, close`},
		{"webhooks without data", smallest + "webhooks: {after: [http://a]}\n", `4: webhooks: is told of no switch`},
		{"webhook is no URL", smallest + "webhooks: {before: [orders/hook]}\ndata: {database: '${URL}', tables: [{table: a}]}\n", `4: webhooks.before[0] = "orders/hook": is no http or https URL`},
		{"webhook with a password", smallest + "webhooks: {before: ['http://me:pw@a/']}\ndata: {database: '${URL}', tables: [{table: a}]}\n", `is no http or https URL without credentials`},
		{"webhook takes long", smallest + "webhooks: {after: [http://a], timeout: 31s}\ndata: {database: '${URL}', tables: [{table: a}]}\n", `4: webhooks.timeout = "31s": is longer than a switch should wait`},
		{"guards", smallest + "rollout: {steps: [1%], every: 1s, guards: {}}\n", `4: rollout.guards: is not there yet`},
		{"steps fall", smallest + "rollout: {steps: [5%, 5%], every: 1s}\n", `4: rollout.steps[1] = "5%": is not above the step before it`},
		{"anchor", smallest + "traffic: &a {weight: 1%}\n", `4: traffic: anchors and aliases are not read here`},
		{"tag", smallest + "traffic: {weight: !!str 1%}\n", `4: traffic.weight: tags are not read here`},
		{"bare tag", smallest + "traffic: {weight: ! 1%}\n", `4: traffic.weight: is not written plainly`},
		{"block text", smallest + "traffic:\n  weight: |\n    1%\n", `is not written plainly`},
		{"question mark", smallest + "? traffic\n: {weight: 1%}\n", `4: has a key that is not plain text`},
		{"second document", smallest + "---\na: b\n", `a second document in one file`},
		{"no YAML", "a: [", `is not YAML`},
		{"nothing", "# soon\n", `1: is empty`},
		{"a list", "- a\n", `1: is a list, not a section`},
		{"byte order mark", "\uFEFF" + smallest, `1: has a byte order mark`},
		{"latin-1", smallest + "# \xE9\n", `4: is not UTF-8`},
		{"no name", strings.Replace(smallest, "orders\n", "Orders\n", 1), `1: capability = "Orders": is no name`},
		{"nothing extracted", strings.Split(smallest, "extracted")[0], `1: extracted: is missing`},
		{"both addresses", strings.Replace(smallest, "extracted: {", "extracted: {consul: o, ", 1), `3: extracted: has endpoints and a consul service`},
		{"no address", strings.Replace(smallest, "endpoints: [http://127.0.0.1:9003]", "", 1), `3: extracted: has no addresses`},
		{"endpoint path", strings.Replace(smallest, ":9003", ":9003/api", 1), `3: extracted.endpoints[0] = "http://127.0.0.1:9003/api": has a path`},
		{"endpoint scheme", strings.Replace(smallest, "http:", "ftp:", 1), `is no absolute http or https URL`},
		{"endpoint port", strings.Replace(smallest, ":9003", ":90030", 1), `has no valid port`},
		{"endpoint twice", strings.Replace(smallest, ":9003", ":9003, 'http://127.0.0.1:9003/'", 1), `extracted.endpoints[1] = "http://127.0.0.1:9003/": is given twice`},
		{"no slash", strings.Replace(smallest, "/api", "api", 1), `2: routes[0].path = "api/orders": does not begin with a slash`},
		{"open brace", strings.Replace(smallest, "/api/orders", `"/api/{id"`, 1), `is no template: mux: unbalanced braces`},
		{"groups", strings.Replace(smallest, "/api/orders", `"/api/{id:(a|b)}"`, 1), `is no template`},
		{"star", strings.Replace(smallest, "/api/orders", `/api/*`, 1), `only /** at the end claims a subtree`},
		{"dots", strings.Replace(smallest, "/api/orders", `/api/../x`, 1), `a dot segment`},
		{"query", strings.Replace(smallest, "/api/orders", `"/api?x=1"`, 1), `routes are paths`},
		{"method", strings.Replace(smallest, "/api/orders", "/a, methods: [get]", 1), `2: routes[0].methods[0] = "get": is no HTTP method`},
		{"route twice", strings.Replace(smallest, "/api/orders}", "/a}, {path: /a, methods: [GET]}", 1), `2: routes[1]: claims what line 2 claims already: /a`},
		{"rewrite", strings.Replace(smallest, "/api/orders", "/a, rewrite: /b", 1), `2: routes[0].rewrite = "/b": belongs to a side, not to a route`},
		{"retired too early", smallest + "traffic: {owner: extracted, weight: 99%}\ndata: {database: '${URL}', tables: [{table: a}], state: retired}\n", `5: data.state = "retired": is for what extracted owns`},
		{"unset variable", smallest + "data: {database: '${NOWHERE}', tables: [{table: a}]}\n", `4: data.database: names the variable NOWHERE, which is not set`},
		{"half a variable", smallest + "data: {database: '${URL', tables: [{table: a}]}\n", `has a ${ that is not the start of ${NAME}`},
		{"no database", smallest + "data: {tables: [{table: a}]}\n", `4: data.database: is missing`},
		{"no postgres", smallest + "data: {database: 'mysql://u:geheim@h/d', tables: [{table: a}]}\n", `4: data.database: is no connection string of PostgreSQL`},
		{"table twice under one name", smallest + "data: {database: '${URL}', tables: [{table: a}, {table: public.a}]}\n", `data.tables[1]: maps a second table to public.a`},
		{"table three times", smallest + "data: {database: '${URL}', tables: [{table: a}, {table: a, as: b}, {table: public.a, as: c}]}\n", `data.tables[2]: names a table that is listed twice already: public.a`},
		{"table twice, half a copy", smallest + "data: {database: '${URL}', tables: [{table: a}, {table: a, as: b, mode: copy}]}\n", `data.tables[1]: names a with another mode`},
		{"table twice, other rows", smallest + "data: {database: '${URL}', tables: [{table: a, where: 'n > 1'}, {table: a, as: b}]}\n", `data.tables[1]: divides a between two tables that do not have the same rows`},
		{"three to one", smallest + "data: {database: '${URL}', tables: [{table: a}, {table: b, as: a}, {table: c, as: a}]}\n", `data.tables[2]: maps a third table to a`},
		{"two to one, of two modes", smallest + "data: {database: '${URL}', tables: [{table: a}, {table: b, as: a, mode: copy}]}\n", `data.tables[1]: maps a second table to a with another mode than a`},
		{"two to one, of which some rows move", smallest + "data: {database: '${URL}', tables: [{table: a, where: x}, {table: b, as: a, where: x}]}\n", "data.tables[1]: maps a second table to a, and a `where` bounds the rows"},
		{"divided, and then two to one", smallest + "data: {database: '${URL}', tables: [{table: a, as: x}, {table: a, as: y}, {table: b, as: x}]}\n", `data.tables[2]: maps a table that is divided, or a second one beside it, to x`},
		{"two to one, and then divided", smallest + "data: {database: '${URL}', tables: [{table: a, as: x}, {table: b, as: x}, {table: a, as: y}]}\n", `data.tables[2]: divides a, which becomes one with another table as x`},
		{"filter", smallest + "data: {database: '${URL}', tables: [{table: a, filter: 'x > 1'}]}\n", `data.tables[0].filter = "x > 1": is called where`},
		{"where", smallest + "data: {database: '${URL}', tables: [{table: a, where: [x]}]}\n", `data.tables[0].where: is a list, not text`},
		{"expression", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: lower(x)}}]}\n", `data.tables[0].columns.x = "lower(x)": is an expression where a name is wanted`},
		{"filled twice", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {y: x, x: {constant: 1}}}]}\n", `data.tables[0].columns.x: fills a column that another one fills: x`},
		{"nothing to fill it", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: {reverse: {y: x}}}}]}\n", `data.tables[0].columns.x: does not say where its values come from`},
		{"two ways to fill it", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: {forward: y, constant: 1}}}]}\n", `data.tables[0].columns.x: has both forward and constant`},
		{"way back of a constant", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: {constant: 1, reverse: {y: x}}}}]}\n", `data.tables[0].columns.x.reverse: stands beside a constant`},
		{"constant", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: {constant: [1]}}}]}\n", `data.tables[0].columns.x.constant: is a list, not a value`},
		{"word of a column", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: {forwards: y, constant: 1}}}]}\n", `data.tables[0].columns.x.forwards: is an unknown key; did you mean forward?`},
		{"reverse", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: {forward: y, reverse: y}}}]}\n", `data.tables[0].columns.x.reverse = "y": is text, not columns of the legacy table`},
		{"lossy", smallest + "data: {database: '${URL}', tables: [{table: a, reverse: yes}]}\n", `data.tables[0].reverse`},
		{"omit twice", smallest + "data: {database: '${URL}', tables: [{table: a, omit: [x, x]}]}\n", `data.tables[0].omit[1] = "x": is listed twice`},
		{"omit and rename", smallest + "data: {database: '${URL}', tables: [{table: a, columns: {x: y}, omit: [x]}]}\n", `data.tables[0].omit[0] = "x": is renamed under columns`},
		{"sequence twice", smallest + "data: {database: '${URL}', tables: [{table: a}], sequences: {named: [{sequence: s}, {sequence: public.s, as: t}]}}\n", `data.sequences.named[1]: names a sequence that is listed already: public.s`},
		{"two sequences to one", smallest + "data: {database: '${URL}', tables: [{table: a}], sequences: {named: [{sequence: s}, {sequence: t, as: s}]}}\n", `data.sequences.named[1]: maps a second sequence to s`},
		{"name of a sequence", smallest + "data: {database: '${URL}', tables: [{table: a}], sequences: {named: [{sequence: \"nextval('s')\"}]}}\n", `data.sequences.named[0].sequence = "nextval('s')": is no name of a sequence`},
		{"no sequence", smallest + "data: {database: '${URL}', tables: [{table: a}], sequences: {named: [{as: s}]}}\n", `data.sequences.named[0].sequence: is missing`},
		{"at_switch", smallest + "data: {database: '${URL}', tables: [{table: a}], border: [{constraint: k}]}\n", `4: data.border[0].at_switch: is missing`},
		{"capture", smallest + "data: {database: '${URL}', tables: [{table: a}], capture: log}\n", `4: data.capture = "log"`},
		{"rate", smallest + "data: {database: '${URL}', tables: [{table: a}], rate: 0}\n", `4: data.rate = "0": is out of range`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, problems := document("f.yaml", []byte(row.content), environment)
			if len(problems) != 1 {
				t.Fatalf("want one problem, got %d: %v", len(problems), problems)
			}
			if got := problems[0].String(); !strings.Contains(got, row.want) || !strings.HasPrefix(got, "f.yaml") {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			if problems[0].Mend == "" {
				t.Errorf("no mend: %v", problems[0])
			}
			if strings.Contains(problems[0].String(), "geheim") {
				t.Errorf("shows a password: %v", problems[0])
			}
		})
	}
}

// All problems come at once, in the order of the file's sections.
func TestDocumentListsEverything(t *testing.T) {
	content := "capability: Orders\nroutes: [{path: api}]\nextracted: {}\ntraffic: {weight: 101%, colour: red}\ndata: {state: on}\n"
	_, problems := document("f.yaml", []byte(content), environment)
	var paths []string
	for _, p := range problems {
		paths = append(paths, p.Path)
	}
	want := "capability routes[0].path extracted traffic.weight traffic.colour data.state data.database data.tables"
	if got := strings.Join(paths, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestBothHalvesAreClaimed: of two tables that become one, no other capability moves
// the second either.
func TestBothHalvesAreClaimed(t *testing.T) {
	data := "data: {database: 'postgres://h/d', tables: [%]}\n"
	documents, problems := Documents("routes", map[string][]byte{
		"1.yaml": []byte(smallest + strings.Replace(data, "%", "{table: a, as: x}, {table: b, as: x}", 1)),
		"2.yaml": []byte(strings.Replace(smallest, "orders", "billing", 1) + strings.Replace(data, "%", "{table: public.b, as: y}", 1)),
	})
	if len(documents) != 1 || len(documents[0].Data.Tables) != 2 || len(problems) != 1 || !strings.Contains(problems[0].String(), `"public.b": is moved by capability orders as well`) {
		t.Errorf("%v, %v", documents, problems)
	}
}

func TestDocumentsClash(t *testing.T) {
	data := "data: {database: 'postgres://h/d', tables: [{table: %}]}\n"
	other := strings.Replace(smallest, "orders", "billing", 1)
	contents := map[string][]byte{
		"1.yaml": []byte(smallest + strings.Replace(data, "%", "a", 1)),
		"2.yaml": []byte(smallest),
		"3.yaml": []byte(other + strings.Replace(data, "%", "public.a", 1)),
		"4.yaml": []byte(strings.Replace(other, "billing", "stock", 1) + strings.Replace(data, "%", "a, mode: copy", 1)),
	}
	documents, problems := Documents("routes", contents)
	if len(documents) != 2 || documents[0].File != "routes/1.yaml" || documents[1].File != "routes/4.yaml" {
		t.Errorf("documents: %v", documents)
	}
	want := []string{
		`routes/2.yaml:1: capability = "orders": is taken by routes/1.yaml`,
		`routes/3.yaml:4: data.tables[0].table = "public.a": is moved by capability orders as well (routes/1.yaml)`,
	}
	if len(problems) != len(want) {
		t.Fatalf("problems: %v", problems)
	}
	for i, p := range problems {
		if !strings.HasPrefix(p.String(), want[i]) {
			t.Errorf("got %s, want %s", p, want[i])
		}
	}
}
