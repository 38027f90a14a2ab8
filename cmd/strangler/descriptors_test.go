package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Who may have fewer files open than its connections need is told before the
// connections fail, with what to do. The soft limit is no matter: it is raised.
func TestTooFewDescriptors(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	path := program(t)
	dir, _, _ := trafficHouse(t, "edge: {limits: {connections: 1000}}\n")
	for limit, warned := range map[string]bool{"-S -n 256": false, "-n 2200": true} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "ulimit "+limit+` && exec "$0" check -c "$1"`, path, filepath.Join(dir, "config.yaml")).CombinedOutput()
		const warning = `config.yaml: edge.limits.connections = "1000": may need 2256 open files, and this user may open 2200; `
		if err != nil || !strings.Contains(string(out), "all is well") || strings.Contains(string(out), warning) != warned || strings.Contains(string(out), "warning") != warned {
			t.Errorf("ulimit %s: %v\n%s", limit, err, out)
		}
	}
}
