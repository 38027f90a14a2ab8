package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"strangler/capability"
)

// Config is config.yaml: where this process listens, where the monolith is, and
// the bounds that hold for all capabilities.
type Config struct {
	File   string
	Listen string // host:port for clients
	Admin  string // host:port for the API, the console and the metrics
	Legacy Legacy
	Routes string // directory of the documents
	State  string // directory for what the program writes
	Consul *Consul
	Switch capability.Times
	Hold   Hold
	Rate   int // rows per second a backfill may copy where its document says nothing; 0: unbounded
	Log    Log
}

// Legacy is the monolith.
type Legacy struct {
	Upstream capability.Upstream
	Database string // empty: no capability can move data
}

// Consul is where the agent is; nil in Config where there is none.
type Consul struct {
	Address    string // host:port, or a URL
	Token      string
	Prefix     string // of keys
	Datacenter string // empty: the agent's
}

// Hold bounds the writes that wait during a switch, per process.
type Hold struct {
	Requests int
	Bytes    int64 // of their bodies, in memory
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format string // json or text
	Access bool   // one line per request
}

// Load reads config.yaml: defaults, then the file, then the environment
// (STRANGLER_LISTEN, STRANGLER_LEGACY_DATABASE, …; lists with commas). Every
// problem is returned at once; with any, the Config must not be used. Relative
// directories are those beside the file.
func Load(path string) (Config, []capability.Problem) {
	content, err := os.ReadFile(path)
	if err != nil {
		problem := capability.Problem{File: path, Message: "cannot be read: " + reason(err), Mend: "write it, or name another by --config"}
		return Config{File: path}, []capability.Problem{problem}
	}
	return load(path, content)
}

func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

func load(path string, content []byte) (Config, []capability.Problem) {
	c := Config{File: path}
	r := &reading{file: path, lookup: os.LookupEnv}
	root := r.tree(content)
	if root == nil {
		return c, r.problems
	}
	found, err := settle(r, root, &c)
	if err != nil {
		r.add(0, "", "", err.Error(), "")
		return c, r.problems
	}
	c.check(r, found)
	c.Routes, c.State = beside(path, c.Routes), beside(path, c.State)
	return c, r.problems
}

// check looks at what only shows between the keys.
func (c *Config) check(r *reading, found *settled) {
	up := c.Legacy.Upstream
	switch line := found.lines["legacy"]; {
	case found.set["legacy.endpoints"] && found.set["legacy.consul"]:
		r.add(line, "legacy", "", "has endpoints and a consul service", "keep one of the two")
	case !found.set["legacy.endpoints"] && !found.set["legacy.consul"]:
		r.add(line, "legacy", "", "has no addresses", "write endpoints: [http://127.0.0.1:9000], or consul: SERVICE")
	case up.Consul != "" && c.Consul == nil:
		r.add(found.lines["legacy.consul"], "legacy.consul", up.Consul, "names a service, but there is no consul section", "write `consul: {address: 127.0.0.1:8500}`")
	}
	if p := c.Switch.Problem(); p != nil && found.sound("switch.gap", "switch.lease", "switch.age") {
		r.add(found.lines["switch"], p.Path, p.Value, p.Message, p.Mend)
	}
	if _, port, err := net.SplitHostPort(c.Listen); err == nil && port != "0" && c.Listen == c.Admin {
		r.add(found.lines["admin"], "admin", c.Admin, "is the address for clients as well", "give the admin API a port of its own")
	}
}

func beside(file, dir string) string {
	if dir == "" || filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(filepath.Dir(file), dir)
}
