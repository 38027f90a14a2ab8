package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A border says who may import whom, in a sentence that is printed when somebody
// crosses it.
type border struct {
	from  []string // packages, "…/..." for all below
	never []string
	rule  string
}

// rooms are the parts of the data plane that stand alone.
var rooms = []string{"strangler/proxy/match", "strangler/proxy/breaker", "strangler/proxy/limit", "strangler/proxy/pool", "strangler/proxy/edge", "strangler/proxy/tunnel"}

var borders = []border{
	{from: []string{"strangler/capability"}, never: []string{"strangler/..."}, rule: "capability is the core: it imports nothing of ours"},
	{from: []string{"strangler/capability"}, never: []string{"net/...", "os", "io/...", "context", "sync/...", "database/...", "github.com/..."},
		rule: "capability is pure: no I/O, no goroutine, nothing from outside"},
	{from: []string{"strangler/proxy"}, never: []string{"strangler/migrate", "strangler/controller", "strangler/internal/..."},
		rule: "proxy imports capability alone; what else it needs it declares as an interface"},
	{from: rooms, never: []string{"strangler/proxy", "strangler/migrate", "strangler/controller", "strangler/internal/..."},
		rule: "the rooms of proxy import capability alone"},
	{from: []string{"strangler/migrate"}, never: []string{"strangler/proxy", "strangler/controller", "strangler/internal/..."},
		rule: "migrate imports capability alone; what else it needs it declares as an interface"},
	{from: []string{"strangler/controller"}, never: []string{"strangler/proxy", "strangler/migrate", "strangler/internal/..."},
		rule: "controller imports capability alone; what else it needs it declares as an interface"},
	{from: []string{"strangler/controller/model"}, never: []string{"strangler/proxy/...", "strangler/migrate/...", "strangler/internal/...", "strangler/cmd/...",
		"net/...", "os", "io/...", "context", "sync/...", "database/...", "github.com/..."},
		rule: "the model of a switch imports capability and controller alone, and does no I/O"},
	{from: []string{"strangler/..."}, never: []string{"strangler/controller/model"}, rule: "the model of a switch is for tests: nothing that is shipped needs it"},
	{from: []string{"strangler/proxy", "strangler/controller"}, never: []string{"github.com/jackc/..."},
		rule: "only the mover's side of the house knows PostgreSQL"},
	{from: []string{"strangler/migrate", "strangler/proxy", "strangler/controller", "strangler/capability"}, never: []string{"go.yaml.in/...", "github.com/spf13/..."},
		rule: "only internal/config reads YAML"},
	{from: []string{"strangler/internal/files", "strangler/internal/consul", "strangler/internal/postgres", "strangler/internal/api", "strangler/internal/telemetry"},
		never: []string{"go.yaml.in/...", "github.com/spf13/..."}, rule: "only internal/config reads YAML"},
	{from: []string{"strangler/internal/documents/..."}, never: []string{"strangler/proxy/...", "strangler/migrate/...", "strangler/controller/...", "strangler/internal/...",
		"strangler/cmd/...", "net/...", "os", "io/...", "context", "sync/...", "github.com/..."},
		rule: "what the stores share imports capability alone, and does no I/O: that is theirs"},
	{from: []string{"strangler/..."}, never: []string{"strangler/internal/documents/documentstest"}, rule: "the documents of the tests are for tests"},
}

// adapters import the core packages, never each other.
var adapters = []string{"strangler/internal/config", "strangler/internal/files", "strangler/internal/consul", "strangler/internal/postgres", "strangler/internal/api", "strangler/internal/telemetry", "strangler/internal/webhook"}

func TestWhoMayImportWhom(t *testing.T) {
	t.Parallel()
	imports := direct(t)
	all := borders
	for _, a := range adapters {
		others := slices.DeleteFunc(slices.Clone(adapters), func(o string) bool { return o == a })
		all = append(all, border{from: []string{a}, never: append(others, "strangler/cmd/..."), rule: "adapters never import each other; only cmd/strangler sees everyone"})
	}
	for _, r := range rooms {
		others := slices.DeleteFunc(slices.Clone(rooms), func(o string) bool { return o == r })
		all = append(all, border{from: []string{r}, never: others, rule: "the rooms of proxy never import each other; only proxy sees them all"})
	}
	seen := 0
	for _, b := range all {
		for from, to := range imports {
			if !matches(b.from, from) {
				continue
			}
			seen++
			for _, name := range to {
				if matches(b.never, name) && name != from {
					t.Errorf("%s imports %s: %s", from, name, b.rule)
				}
			}
		}
	}
	if seen < len(all) {
		t.Errorf("the rules speak of packages that are not there: %d of %d met one", seen, len(all))
	}
}

// TestTheExampleStandsAlone: a strangler that needed the application's help would
// disprove itself.
func TestTheExampleStandsAlone(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"../../legacy-monolith", "../../extracted", "../../bench", "../../testbed"} {
		command := exec.Command("go", "list", "-test", "-deps", "./...")
		command.Dir, command.Env = dir, append(command.Environ(), "GOWORK=off")
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%s does not stand alone: %v", dir, err)
		}
		for name := range strings.Lines(string(out)) {
			name = strings.TrimSpace(name)
			if name == "strangler" || strings.HasPrefix(name, "strangler/") {
				t.Errorf("%s imports %s of the toolkit", dir, name)
			}
			if dir == "../../extracted" && strings.HasPrefix(name, "legacy-monolith/") {
				t.Errorf("an extracted service imports %s of the monolith", name)
			}
		}
	}
}

// direct lists what every package of the toolkit imports, tests left out.
func direct(t *testing.T) map[string][]string {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Standard", "strangler/...")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, "strangler/") {
			imports[p.ImportPath] = p.Imports
		}
	}
	return imports
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if below, all := strings.CutSuffix(p, "/..."); p == name || all && (name == below || strings.HasPrefix(name, below+"/")) {
			return true
		}
	}
	return false
}
