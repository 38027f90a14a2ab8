package config

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"strangler/capability"
)

// reference returns the YAML blocks of docs/configuration.md whose first line
// names a file like that.
func reference(t *testing.T, name string) []string {
	t.Helper()
	content, err := os.ReadFile(root + "/docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, match := range regexp.MustCompile("(?ms)^```yaml\n# (\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(content), -1) {
		if strings.HasPrefix(match[1], name) {
			blocks = append(blocks, match[2])
		}
	}
	if len(blocks) < 2 {
		t.Fatalf("docs/configuration.md has %d blocks of %s", len(blocks), name)
	}
	return blocks
}

func referenceEnvironment(name string) (string, bool) {
	return "postgres://h/" + strings.ToLower(name), strings.HasSuffix(name, "_DATABASE_URL")
}

// Every key that is read is in the reference, and the reference has no other:
// one that nobody asks for would be a problem.
func TestReferenceHasEveryKey(t *testing.T) {
	t.Setenv("LEGACY_DATABASE_URL", "postgres://h/d")
	t.Setenv("CONSUL_TOKEN", "geheim")
	for _, row := range []struct {
		name   string
		decode func(*testing.T, string) *reading
	}{
		{"config.yaml", func(_ *testing.T, block string) *reading {
			r := newReading("config.yaml", os.LookupEnv)
			r.config([]byte(block))
			return r
		}},
		{"routes/", func(_ *testing.T, block string) *reading {
			r := newReading("routes/orders.yaml", referenceEnvironment)
			r.document([]byte(block))
			return r
		}},
	} {
		asked, given := map[string]bool{}, map[string]bool{}
		for _, block := range reference(t, row.name) {
			r := row.decode(t, block)
			for _, p := range r.problems {
				t.Errorf("docs/configuration.md: %v", p)
			}
			maps.Copy(asked, r.asked)
			for path := range r.lines {
				given[placeless(path)] = true
			}
		}
		for _, path := range slices.Sorted(maps.Keys(asked)) {
			if !given[path] {
				t.Errorf("%s can say %s, and docs/configuration.md does not show it", row.name, path)
			}
		}
		if len(asked) < 60 {
			t.Errorf("only %d keys of %s were asked for", len(asked), row.name)
		}
	}
}

var defaultLine = regexp.MustCompile(`#\s+default(\.|$)`)

// Defaults are those that a file has which does not say them.
func TestReferenceHasTheDefaults(t *testing.T) {
	t.Setenv("LEGACY_DATABASE_URL", "postgres://h/d")
	t.Setenv("CONSUL_TOKEN", "geheim")
	block := reference(t, "config.yaml")[0]
	written := leaves(t, block)
	for _, one := range settings {
		leaf, ok := written[one.name]
		if one.fallback != "" && (!ok || leaf.text != one.fallback || !leaf.saysDefault) {
			t.Errorf("the default of %s is %s, and docs/configuration.md says %+v", one.name, one.fallback, leaf)
		}
	}
	for name, leaf := range written {
		if i := slices.IndexFunc(settings, func(k key[Config]) bool { return k.name == name }); leaf.saysDefault && i >= 0 && settings[i].fallback == "" &&
			!strings.HasPrefix(name, "consul.") && !strings.HasPrefix(name, "legacy.concurrency.") {
			t.Errorf("docs/configuration.md has a default for %s, and the code has none", name)
		}
	}
	got := Consul{Address: written["consul.address"].text, Prefix: written["consul.prefix"].text, Service: written["consul.service"].text}
	c := (&Config{}).consul()
	if got != (Consul{Address: c.Address, Prefix: c.Prefix, Service: c.Service}) || written["consul.stale"].text != c.Stale.String() {
		t.Errorf("the defaults of consul are %+v, and docs/configuration.md says %+v", *c, got)
	}

	d, problems := document("routes/orders.yaml", []byte(reference(t, "routes/")[0]), referenceEnvironment)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := defaultResilience()
	want.Concurrency, want.Budget = d.Resilience.Concurrency, d.Resilience.Budget // of the fields' own comments
	want.Breaker.OpenMost, want.Breaker.Slow, want.Breaker.SlowRatio = 10*want.Breaker.OpenFor, d.Resilience.Breaker.Slow, want.Breaker.Ratio
	if !reflect.DeepEqual(d.Resilience, want) {
		t.Errorf("the defaults are %+v, and docs/configuration.md says %+v", want, d.Resilience)
	}
	if d.Traffic.Owner != defaultTraffic().Owner || d.Traffic.Weight != 0 || d.Data.Gap != defaultGap || d.Data.State != capability.DataStopped {
		t.Errorf("docs/configuration.md says %+v and %+v", d.Traffic, d.Data)
	}
}

type leaf struct {
	text        string
	saysDefault bool
}

// leaves are the scalars of a block by their path.
func leaves(t *testing.T, block string) map[string]leaf {
	t.Helper()
	tree, err := parse([]byte(block))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(block, "\n")
	all := map[string]leaf{}
	var walk func(node *yaml.Node, path string)
	walk = func(node *yaml.Node, path string) {
		switch node.Kind {
		case yaml.MappingNode:
			for i := 0; i < len(node.Content); i += 2 {
				walk(node.Content[i+1], join(path, node.Content[i].Value))
			}
		case yaml.ScalarNode:
			all[path] = leaf{node.Value, defaultLine.MatchString(lines[node.Line-1])}
		}
	}
	walk(tree, "")
	return all
}
