package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// typed carries out a command line in a directory without any configuration and
// returns what it printed, standard error included, and the exit status.
func typed(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // read below
	status := run(t.Context(), &goodbye{}, args, out, out)
	content, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(content), status
}

// A command line that cannot be read is never a success, and says what would be
// right.
func TestCommandLinesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"reload":                                 "strangler has no command \"reload\"; it has breaker, check,",
		"reload --help":                          "strangler has no command \"reload\"; it has breaker,",
		"reload --dry-run":                       "strangler has no command \"reload\"",
		"help reload":                            "strangler has no command \"reload\"",
		"help data strat":                        "did you mean: strangler data start",
		"statsu":                                 "did you mean: strangler status",
		"verify orders":                          "did you mean: strangler data verify",
		"explain GET /":                          "did you mean: strangler route explain",
		"data frob orders":                       "strangler data has no command \"frob\"; it has orphans, pause, plan,",
		"data strat orders":                      "did you mean: strangler data start",
		"data nosuch --help":                     "strangler data has no command",
		"route frob":                             "it has explain, list",
		"document frob --help":                   "strangler document has no command",
		"completion nosuch":                      "strangler completion has no command \"nosuch\"; it has bash,",
		"completion bash extra":                  "takes no arguments, and \"extra\" is one",
		"status a b":                             "takes one capability or none, and \"b\" is too much",
		"log a b":                                "\"b\" is too much",
		"check it":                               "takes no arguments, and \"it\" is one",
		"cutover":                                "takes CAPABILITY, and CAPABILITY is missing",
		"weight orders":                          "takes CAPABILITY PERCENT, and PERCENT is missing",
		"weight orders 5% now":                   "\"now\" is too much",
		"weight orders ten":                      "a weight is a percentage from 0% to 100%",
		"weight orders 10":                       "write 10%",
		"weight orders 101%":                     "from 0% to 100%",
		"breaker orders left open":               "write legacy or extracted",
		"breaker orders legacy ajar":             "write enforce, observe, disabled or open",
		"document push":                          "takes FILE…, and FILE is missing",
		"log -n 0":                               "write a whole number, 1 or more",
		"log -n ten":                             "write a whole number, 1 or more",
		"proxy --listen nonsense":                "write host:port, as in 127.0.0.1:8080",
		"proxy --admin 127.0.0.1:99999":          "write host:port",
		"proxy --controller nonsense":            "write host:port or a URL",
		"controller --admin nonsense":            "write host:port",
		"data plan orders --ddl --create":        "write one of them",
		"status --nosuch":                        "unknown flag: --nosuch",
		"route explain GET":                      "takes METHOD URL, and URL is missing",
		"route explain --address nonsense GET /": "write an IP address as in 192.0.2.1",
		"route explain --address shop:80 GET /":  "write an IP address",
		"route explain --address= GET /":         "write an IP address",
		"route explain GET api/orders":           "write /PATH or http://HOST/PATH",
		"route explain GET ftp://shop/":          "write /PATH or http://HOST/PATH",
		"route explain GET /%zz":                 "invalid URL escape",
		"route explain /api/orders GET":          "is no method: write one as in GET /api/orders",
		"route explain GET / -H nonsense":        "write 'Name: value'",
		"route explain GET / -H :value":          "is no name of a header",
		"route explain GET / -H X(1):value":      "is no name of a header",
	} {
		out, status := typed(t, strings.Fields(line)...)
		if status != 2 || !strings.Contains(out, want) || !strings.Contains(out, "--help") {
			t.Errorf("strangler %s: exit status %d, want 2 and %q:\n%s", line, status, want, out)
		}
	}
}

// What is there before anything else is: nothing, a file of nothing, no documents,
// documents of nothing.
func TestFirstSteps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, wants ...string) {
		t.Helper()
		for _, verb := range []string{"check", "up", "proxy", "controller"} {
			out, status := typed(t, verb, "-c", config)
			for _, want := range wants {
				if status != 1 || !strings.Contains(out, want) {
					t.Errorf("%s, strangler %s: exit status %d, want 1 and %q:\n%s", what, verb, status, want, out)
				}
			}
		}
	}
	expect("no configuration", "config.yaml: cannot be read: no such file or directory; write `legacy: {endpoints: [http://127.0.0.1:9000]}`")
	write("config.yaml", "# soon\n")
	expect("an empty configuration", "config.yaml:1: is empty; write `legacy:")
	write("config.yaml", "listen: 127.0.0.1:0\nadmin: localhost:0\nlegacy: {endpoints: [http://127.0.0.1:1]}\n")
	expect("no documents", "no such file or directory; make the directory, or name another as `routes` in "+config)
	if err := os.Mkdir(filepath.Join(dir, "routes"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("routes/a.yaml", "")
	write("routes/b.yaml", "capability: b\nrouts: [{path: /b}]\n")
	expect("broken documents", "a.yaml:1: is empty; write its keys, or take the file away", "b.yaml:2: routs: is an unknown key; did you mean routes?")
	if out, _ := typed(t, "up", "-c", config); !strings.Contains(out, "nothing is served") {
		t.Errorf("up does not say that it serves nothing:\n%s", out)
	}
}

// A problem is one line, also where a driver has more to say: editors and greps
// read them so.
func TestAProblemIsALine(t *testing.T) {
	t.Parallel()
	dir, _, _ := trafficHouse(t, "")
	h := &house{t: t, dir: dir, name: "orders"}
	h.write("routes/orders.yaml", "capability: orders\nroutes: [{path: /api/orders}]\nextracted: {endpoints: [http://127.0.0.1:1]}\n"+
		"data: {database: 'postgres://127.0.0.1:1/orders', tables: [{table: orders}]}\n")
	content, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	h.must(err)
	h.write("config.yaml", strings.Replace(string(content), "legacy: {", "legacy: {database: 'postgres://127.0.0.1:1/shop', ", 1))
	out, status := h.try("check")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 1 || len(lines) != 4 || lines[3] != "error: 3 problems" || !strings.Contains(out, "start the database, or correct") {
		t.Errorf("exit status %d, %d lines:\n%s", status, len(lines), out)
	}
}

// Whoever goes away from a command is told what becomes of it.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	dir, _, _ := trafficHouse(t, "log: {access: false}\n")
	h := &house{t: t, dir: dir, name: "orders"}
	h.up()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for line, want := range map[string]string{
		"cutover orders":           "interrupted: a switch that has begun goes on to its end; see: strangler status orders\n",
		"cutover orders --dry-run": "interrupted\n", "data start orders": "interrupted: the move goes on; see: strangler status orders\n",
		"data reset orders": "interrupted: the reset goes on; see: strangler status orders\n", "data verify orders": "interrupted\n", "status": "interrupted\n",
	} {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		h.must(err)
		status := run(gone, &goodbye{}, append(strings.Fields(line), "-c", filepath.Join(dir, "config.yaml")), out, out)
		content, err := os.ReadFile(out.Name())
		h.must(err)
		h.must(out.Close())
		if status != 1 || string(content) != want {
			t.Errorf("strangler %s: exit status %d, want 1 and %q:\n%s", line, status, want, content)
		}
	}
}

// Help that was asked for of something that is there is a success.
func TestHelp(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--version": "strangler version ", "": "exit status is 0", "--help": "Moving traffic and data", "help": "Moving traffic and data", "data": "strangler data [command]", "data --help": "verify",
		"help data start": "strangler data start CAPABILITY", "status orders --help": "strangler status [CAPABILITY]", "help completion bash": "autocompletion",
		"weight 10% --help": "strangler weight CAPABILITY PERCENT",
	} {
		if out, status := typed(t, strings.Fields(line)...); status != 0 || !strings.Contains(out, want) {
			t.Errorf("strangler %s: exit status %d, want 0 and %q:\n%s", line, status, want, out)
		}
	}
}
