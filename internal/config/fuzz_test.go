package config

import (
	"maps"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
)

// everything is each section of a document that smallest lacks.
const everything = `traffic: {subject: claim:sub, always: [a], never: [b]}
resilience:
  breaker: {ratio: 0.5, open_for: 5s, open_most: 50s, slow: 2s, slow_ratio: 0.5}
  concurrency: {requests: 200, queue: 50, wait: 200ms}
  budget: {share: 20%, least: 3}
breakers: {legacy: enforce, extracted: open}
rollout: {steps: [1%, 100%], every: 1m}
`

var seeds = []string{
	smallest, smallest + "traffic: {weight: 1%}\n", smallest + "traffic:\n  owner: legacy # x\n  weight: '5%'\n",
	smallest + "data: {database: postgres://h/d, tables: [{table: a, columns: {x: y}}], state: paused}\n",
	smallest + "traffic: {}\n...\n", "--- \n" + smallest, "%YAML 1.1\n---\n" + smallest, "{" + strings.ReplaceAll(strings.TrimSpace(smallest), "\n", ", ") + "}",
	smallest + "breakers: {extracted: open}\n", smallest + "breakers:\n  extracted: 'observe' # x\n", smallest + everything,
	"  capability: orders\n  routes: [{path: /a}]\n  extracted: {consul: o}\n", "a: [", "? a\n: b\n",
	"capability: orders\nroutes:\n  - {path: /a, host: '*.b.c', headers: {x-a: '*'}, query: {v: '2'}, allow: [dot-segments], resilience: {timeout: 1s, retries: 0}, body: 1KiB}\n" +
		"extracted:\n  endpoints: ['https://[::1]:1']\n  protocol: h2\n  tls: {ca: a, certificate: b, key: c, server_name: d}\n  check: {path: /}\n" +
		"  ejection: off\n  rewrite: {prefix: /a, to: /, host: 'h:1', cookie_domain: c}\n",
	"a: &b c\nd: *b\n", "- \xC3\xA9: '\n'\n",
}

// Whatever is read, the decoder says what is wrong without falling over, and
// says the same twice.
func FuzzDocument(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, problems := document("f.yaml", content, environment)
		again, problemsAgain := document("f.yaml", content, environment)
		if !reflect.DeepEqual(d, again) || !slices.Equal(problems, problemsAgain) {
			t.Error("two readings differ")
		}
		for _, p := range problems {
			if p.Message == "" || p.File != "f.yaml" || p.Line > strings.Count(string(content), "\n")+1 {
				t.Errorf("problem %+v", p)
			}
		}
		if len(problems) == 0 && (d.Name == "" || len(d.Routes) == 0 || len(d.Extracted.Endpoints) == 0 == (d.Extracted.Consul == "")) {
			t.Errorf("accepted %+v", d)
		}
		if len(problems) == 0 {
			plausible(t, d)
		}
	})
}

// plausible holds an accepted document against what its readers count on.
func plausible(t *testing.T, d capability.Document) {
	t.Helper()
	u, b := d.Extracted, d.Resilience.Breaker
	for name, broken := range map[string]bool{
		"rewrite":   (u.Rewrite.Prefix == "") != (u.Rewrite.To == "") || strings.HasSuffix(u.Rewrite.Prefix, "/"),
		"pair":      (u.TLS.Certificate == "") != (u.TLS.Key == ""),
		"check":     u.Check != capability.Check{} && !strings.HasPrefix(u.Check.Path, "/"),
		"breaker":   !(0 < b.Ratio && b.Ratio <= 1) || b.OpenMost != 0 && b.OpenMost < b.OpenFor,
		"durations": min(d.Resilience.Timeout, b.Window, b.OpenFor) <= 0 || min(u.SlowStart, u.Check.Every, d.Resilience.Concurrency.Wait) < 0,
		"people":    slices.ContainsFunc(d.Traffic.Never, func(s string) bool { return slices.Contains(d.Traffic.Always, s) }),
	} {
		if broken {
			t.Errorf("accepted a document with a wrong %s: %+v", name, d)
		}
	}
	for _, r := range d.Routes {
		for _, c := range r.Headers {
			if c.Name != http.CanonicalHeaderKey(c.Name) || c.Name == "Host" || strings.TrimSpace(c.Value) != c.Value {
				t.Errorf("accepted the header %+v", c)
			}
		}
		if r.Host != strings.ToLower(r.Host) || r.Body < 0 {
			t.Errorf("accepted the route %+v", r)
		}
	}
}

// What Apply returns decodes to the edit and nothing else; and it edits every
// document that decodes.
func FuzzApply(f *testing.F) {
	for i, seed := range seeds {
		f.Add([]byte(seed), uint16(i*997), uint16(i*257))
	}
	f.Fuzz(func(t *testing.T, content []byte, weight, which uint16) {
		edit := anyEdit(weight, which)
		before, problems := document("f.yaml", content, environment)
		if before.Data == nil {
			edit.State = nil
		}
		after, err := Apply(content, edit)
		if err != nil {
			if len(problems) == 0 {
				t.Fatalf("a good document is refused: %v", err)
			}
			return
		}
		if len(problems) > 0 {
			return
		}
		got, problems := document("f.yaml", after, environment)
		if len(problems) > 0 {
			t.Fatalf("became broken: %v\n%s", problems, after)
		}
		wanted := demanded(before, edit)
		if !reflect.DeepEqual(unplaced(got), unplaced(wanted)) {
			t.Fatalf("got %+v\nwant %+v", got, wanted)
		}
		if again, err := Apply(after, edit); err != nil || string(again) != string(after) {
			t.Fatalf("a second time it changes: %v\n%s", err, again)
		}
	})
}

func anyEdit(weight, which uint16) capability.Edit {
	var edit capability.Edit
	w := capability.Weight(int(weight) % (int(capability.Whole) + 1))
	if which&1 != 0 {
		edit.Owner = pointer(capability.Sides[which>>4&1])
	}
	if which&2 != 0 {
		edit.Weight = &w
	}
	if which&4 != 0 {
		edit.Mirror = pointer(capability.Whole - w)
	}
	if which&8 != 0 {
		edit.State = pointer([]capability.DataState{capability.DataStopped, capability.DataPaused, capability.DataRunning}[which>>5%3])
	}
	modes := []capability.BreakerMode{capability.BreakerEnforce, capability.BreakerObserve, capability.BreakerDisabled, capability.BreakerForced}
	edit.Breakers = map[capability.Side]capability.BreakerMode{}
	for i, side := range capability.Sides {
		if which>>(8+i)&1 != 0 {
			edit.Breakers[side] = modes[which>>(10+2*i)&3]
		}
	}
	return edit
}

func demanded(d capability.Document, edit capability.Edit) capability.Document {
	d = d.Clone()
	if edit.Owner != nil {
		d.Traffic.Owner = *edit.Owner
	}
	if edit.Weight != nil {
		d.Traffic.Weight = *edit.Weight
	}
	if edit.Mirror != nil {
		d.Traffic.Mirror = *edit.Mirror
	}
	if edit.State != nil {
		d.Data.State = *edit.State
	}
	if mode, ok := edit.Breakers[capability.Legacy]; ok {
		d.Breakers.Legacy = mode
	}
	if mode, ok := edit.Breakers[capability.Extracted]; ok {
		d.Breakers.Extracted = mode
	}
	return d
}

// unplaced is the document without what moves when a line is added.
func unplaced(d capability.Document) capability.Document {
	d = d.Clone()
	d.Revision = ""
	for i := range d.Routes {
		d.Routes[i].Line = 0
	}
	if d.Data != nil {
		d.Data.TableLine = 0
		for i := range d.Data.Tables {
			d.Data.Tables[i].Line = 0
			d.Data.Tables[i].Columns = maps.Clone(d.Data.Tables[i].Columns)
		}
		for i := range d.Data.Border {
			d.Data.Border[i].Line = 0
		}
	}
	return d
}

// Whatever config.yaml holds, it is refused with what is wrong or is one that
// can be served from, and reading it twice gives the same.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"config.yaml", "deploy/config.yaml"} {
		content, err := os.ReadFile(root + "/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(strings.ReplaceAll(string(content), "${LEGACY_DATABASE_URL}", "postgres://h/d")))
	}
	for _, seed := range []string{
		least, least + "edge: {trusted: ['10.0.0.0/8', '::1'], override: '', tls: {certificates: [{certificate: a, key: b}], clients: c, client_certificates: request}}\n",
		least + "edge: {limits: {connections: 1, header_bytes: 4KiB, body: 0, tunnel_idle: 0s}, drain: {delay: 0s, grace: 1s}}\n",
		least + "zone: a\nstore: consul\nconsul: {tls: {ca: a}, stale: 1s, service: ''}\n",
		"legacy:\n  consul: m\n  ejection: off\n  concurrency: {}\n  timeout: 0s\n  allow: [encoded-zero]\nconsul: {}\n",
		"legacy: {endpoints: [http://a:1], ejection: {off: off}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		c, problems := load("f.yaml", content)
		again, problemsAgain := load("f.yaml", content)
		if !reflect.DeepEqual(c, again) || !slices.Equal(problems, problemsAgain) {
			t.Error("two readings differ")
		}
		for _, p := range problems {
			if p.Message == "" || p.File != "f.yaml" || p.Line > strings.Count(string(content), "\n")+1 {
				t.Errorf("problem %+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		up, l := c.Legacy.Upstream, c.Edge.Limits
		if len(up.Endpoints) == 0 == (up.Consul == "") || c.Store == StoreConsul && c.Consul == nil ||
			min(l.HeaderTime, l.BodyStall, l.WriteStall, l.Idle, c.Edge.Drain.Grace) <= 0 || min(l.TunnelIdle, c.Edge.Drain.Delay, c.Legacy.Timeout) < 0 ||
			l.Connections < 1 || l.HeaderBytes < 1<<10 || l.Body < 0 || c.Switch.Problem() != nil {
			t.Errorf("accepted %+v", c)
		}
		if asks := c.Edge.TLS.ClientCertificates != ClientsNone; asks && (c.Edge.TLS.Clients == "" || len(c.Edge.TLS.Certificates) == 0) {
			t.Errorf("accepted %+v", c.Edge.TLS)
		}
		for _, text := range c.Edge.Trusted {
			if prefix, err := netip.ParsePrefix(text); err != nil || prefix.String() != text || prefix != prefix.Masked() {
				t.Errorf("trusts %q: %v", text, err)
			}
		}
	})
}
