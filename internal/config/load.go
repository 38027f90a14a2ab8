package config

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"strangler/capability"
)

// Load reads config.yaml: defaults, then the file, then the environment
// (STRANGLER_LISTEN, STRANGLER_LEGACY_DATABASE, …; lists with commas). Every
// problem is returned at once; with any, the Config must not be used. Relative
// directories and files are those beside the file. Files that it names are not
// looked at: see NamedFiles.
func Load(path string) (Config, []capability.Problem) {
	content, problem := readConfig(path)
	if problem != nil {
		return Config{File: path}, []capability.Problem{*problem}
	}
	return load(path, content)
}

func readConfig(path string) ([]byte, *capability.Problem) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, &capability.Problem{File: path, Message: "cannot be read: " + reason(err), Mend: leastConfig + ", or name another file by --config"}
	}
	return content, nil
}

// leastConfig is how to mend a configuration that is not there.
const leastConfig = "write `legacy: {endpoints: [http://127.0.0.1:9000]}` with your monolith's address at least"

func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

func load(path string, content []byte) (Config, []capability.Problem) {
	r := newReading(path, os.LookupEnv)
	c := r.config(content)
	return c, r.found()
}

func (r *reading) config(content []byte) Config {
	c := Config{File: r.file}
	r.least = leastConfig
	root := r.tree(content)
	if root == nil {
		return c
	}
	if err := settle(r, root, &c); err != nil {
		r.add(0, "", "", err.Error(), "")
		return c
	}
	c.check(r)
	c.Routes, c.State = beside(r.file, c.Routes), beside(r.file, c.State)
	return c
}

// check looks at what only shows between the keys.
func (c *Config) check(r *reading) {
	r.checkUpstream("legacy", c.Legacy.Upstream)
	if up := c.Legacy.Upstream; up.Consul != "" && len(up.Endpoints) == 0 && c.Consul == nil {
		r.add(r.lines["legacy.consul"], "legacy.consul", up.Consul, "names a service, but there is no consul section", "write `consul: {address: 127.0.0.1:8500}`")
	}
	if c.Store == StoreConsul && c.Consul == nil {
		r.add(r.lines["store"], "store", string(c.Store), "needs the consul section, which is not there", "write `consul: {address: 127.0.0.1:8500}`, or store: files")
	}
	if c.Consul != nil {
		c.Consul.check(r)
	}
	c.Edge.check(r)
	if p := c.Switch.Problem(); p != nil && r.sound("switch.gap", "switch.lease", "switch.age") {
		r.add(r.lines["switch"], p.Path, p.Value, p.Message, p.Mend)
	}
	if _, port, err := net.SplitHostPort(c.Listen); err == nil && port != "0" && c.Listen == c.Admin {
		r.add(r.lines["admin"], "admin", c.Admin, "is the address for clients as well", "give the admin API a port of its own")
	}
}

// beside is the path as somebody means it who writes it in the file.
func beside(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
