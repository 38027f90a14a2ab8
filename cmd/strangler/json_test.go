package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// hollow finds what a program that reads JSON would stumble over: times that are
// none, and null where a list or an object is meant.
func hollow(path string, value any) (found []string) {
	switch v := value.(type) {
	case nil:
		return []string{path + " is null"}
	case string:
		if strings.HasPrefix(v, "0001-01-01") {
			return []string{path + " is " + v}
		}
	case []any:
		for i, element := range v {
			found = append(found, hollow(fmt.Sprintf("%s[%d]", path, i), element)...)
		}
	case map[string]any:
		for key, element := range v {
			found = append(found, hollow(path+"."+key, element)...)
		}
	}
	return found
}

// sound types a command with --json and holds its answer against hollow.
func (h *house) sound(args ...string) {
	h.t.Helper()
	out, _ := h.try(append(args, "--json")...)
	var value any
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&value); err != nil {
		h.t.Errorf("strangler %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
	for _, f := range hollow("", value) {
		h.t.Errorf("strangler %s --json: %s", strings.Join(args, " "), f)
	}
}

// Every answer in JSON leaves out what is not there, and a list without elements
// is one.
func TestJSONIsSound(t *testing.T) {
	t.Parallel()
	dir, _, admin := trafficHouse(t, "log: {access: false}\n")
	h := &house{t: t, dir: dir, name: "orders"}
	h.sound("check")
	h.up()
	for _, line := range []string{"status", "status orders", "data status orders", "route list", "route explain GET /api/orders/1", "route explain GET /elsewhere", "log", "log orders", "weight orders 20%", "check"} {
		h.sound(strings.Fields(line)...)
	}
	if out := h.types("log", "orders"); !strings.Contains(out, actor()) || !strings.Contains(out, "weight 20%") {
		t.Errorf("the log does not say who set a weight:\n%s", out)
	}
	if out, status := h.try("log", "nosuch"); status != 1 || !strings.Contains(out, "no document names this capability; there are: orders") {
		t.Errorf("the log of nothing: exit status %d\n%s", status, out)
	}
	for _, path := range []string{"/api/ledger?limit=x", "/api/capabilities", "/api/capabilities/orders", "/api/capabilities/nosuch", "/api/ledger?capability=orders", "/api/problems",
		"/proxy/serving?capability=orders", "/proxy/serving?capability=nosuch", "/proxy/routes", "/proxy/breakers", "/proxy/endpoints", "/healthz", "/readyz", "/nosuch", "/proxy/explain"} {
		response, err := http.Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		var value any
		if err == nil {
			err = json.Unmarshal(content, &value)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", path, err, content)
		}
		for _, f := range hollow("", value) {
			t.Errorf("%s: %s", path, f)
		}
	}
}

// The same of what is said about data, before a move, while it runs and after.
func TestJSONOfDataIsSound(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := settled(t, "sound")
	for _, line := range []string{"status", "data status sound", "data plan sound", "data plan sound --ddl", "data plan sound --create", "data verify sound", "cutover sound --dry-run", "log", "data pause sound", "data status sound", "cutover sound --dry-run"} {
		h.sound(strings.Fields(line)...)
	}
	if out, status := h.try("cutover", "sound", "--dry-run", "--json"); status != 1 || !strings.Contains(out, "would be refused") {
		t.Errorf("a dry run of what would be refused: exit status %d, want 1:\n%s", status, out)
	}
	for _, line := range []string{"data reset sound", "data status sound", "status"} {
		h.sound(strings.Fields(line)...)
	}
}
