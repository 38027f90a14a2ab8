// Package deploy_test checks, without a container engine, what the files of this folder promise each other: that they name
// hosts, ports, files, programs and variables that exist, and that what they start would work.
package deploy_test

import (
	"bytes"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"strangler/internal/config"
)

func TestServicesAreComplete(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	published := map[string]string{}
	for name, s := range c.Services {
		if (s.Image == "") == (s.Build == nil) {
			t.Errorf("%s: needs either an image or a build", name)
		}
		if _, tag, ok := strings.Cut(s.Image, ":"); s.Image != "" && (!ok || tag == "latest") {
			t.Errorf("%s: image %s is not pinned", name, s.Image)
		}
		for other, d := range s.DependsOn {
			on, ok := c.Services[other]
			switch {
			case !ok:
				t.Errorf("%s: depends on %s, which is no service", name, other)
			case d.Condition == "service_healthy" && on.Healthcheck == nil:
				t.Errorf("%s: waits for the health of %s, which has no check", name, other)
			case d.Condition != "service_healthy" && d.Condition != "service_started":
				t.Errorf("%s: unknown condition %q", name, d.Condition)
			}
		}
		if h := s.Healthcheck; h != nil {
			_, intervalErr := time.ParseDuration(h.Interval)
			_, timeoutErr := time.ParseDuration(h.Timeout)
			if intervalErr != nil || timeoutErr != nil || h.Retries < 1 || len(h.Test) < 2 || h.Test[0] != "CMD" {
				t.Errorf("%s: healthcheck %+v", name, *h)
			}
		}
		for _, port := range s.Ports {
			checkPort(t, name, s, port, published)
		}
	}
}

// checkPort wants host:port:port on loopback: the example has passwords that everybody knows.
func checkPort(t *testing.T, name string, s service, port string, published map[string]string) {
	t.Helper()
	parts := strings.Split(port, ":")
	if len(parts) != 3 || parts[0] != "127.0.0.1" {
		t.Errorf("%s: port %s is not published on loopback alone", name, port)
		return
	}
	if other := published[parts[1]]; other != "" {
		t.Errorf("%s and %s publish the same port %s", name, other, parts[1])
	}
	published[parts[1]] = name
	if !slices.Contains(s.listens(), parts[2]) {
		t.Errorf("%s: publishes %s, listens on %v", name, parts[2], s.listens())
	}
}

func TestMountsExist(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	used := map[string]bool{}
	for name, s := range c.Services {
		for _, volume := range s.Volumes {
			source, _, ok := strings.Cut(volume, ":")
			if !ok {
				t.Errorf("%s: volume %s has no target", name, volume)
			}
			if strings.HasPrefix(source, ".") {
				if _, err := os.Stat(source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if _, ok := c.Volumes[source]; !ok {
				t.Errorf("%s: volume %s is not declared", name, source)
			}
			used[source] = true
		}
	}
	for volume := range c.Volumes {
		if !used[volume] {
			t.Errorf("volume %s is used by nobody", volume)
		}
	}
}

func TestBuildsNameDockerfilesAndTargets(t *testing.T) {
	t.Parallel()
	for name, s := range readCompose(t).Services {
		if s.Build == nil {
			continue
		}
		if filepath.Clean(s.Build.Context) != root {
			t.Errorf("%s: context %s, the Dockerfiles expect the repository", name, s.Build.Context)
		}
		stages := readDockerfile(t, filepath.Join(root, s.Build.Dockerfile))
		image, ok := byName(stages, s.Build.Target)
		if !ok || image.entrypoint == "" {
			t.Errorf("%s: %s has no image %q", name, s.Build.Dockerfile, s.Build.Target)
		}
		if len(s.Command) == 0 {
			t.Errorf("%s: no verb for %s", name, image.entrypoint)
		}
	}
}

// reference is a host with its port, in a URL or alone.
var reference = regexp.MustCompile(`(?:^|[@/ ])([a-z][a-z0-9-]*):(\d+)`)

func TestHostsAndPortsAreThoseOfServices(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	hosts := c.hosts()
	check := func(where, text string) {
		for _, match := range reference.FindAllStringSubmatch(text, -1) {
			services, ok := hosts[match[1]]
			if !ok {
				t.Errorf("%s: %s is no service", where, match[1])
			}
			for _, name := range services {
				if !slices.Contains(c.Services[name].listens(), match[2]) {
					t.Errorf("%s: %s:%s, but %s listens on %v", where, match[1], match[2], name, c.Services[name].listens())
				}
			}
		}
	}
	found := 0
	for name, s := range c.Services {
		for variable, value := range s.Environment {
			check(name+" "+variable, value)
			if u, err := url.Parse(value); err == nil && u.Host != "" {
				found++
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d addresses found; does the test still read the file?", found)
	}
	for name, s := range c.Services {
		if s.Build != nil {
			check(name, strings.ReplaceAll(strings.Join(s.Command, " "), "=", " "))
		}
	}
	check("config.yaml", read(t, "config.yaml"))
}

// definition is a service definition of Consul, as far as it is used here.
type definition struct {
	Service struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Address string `json:"address"`
		Port    int    `json:"port"`
		Check   struct {
			Name     string `json:"name"`
			HTTP     string `json:"http"`
			Interval string `json:"interval"`
			Timeout  string `json:"timeout"`
		} `json:"check"`
	} `json:"service"`
}

// definitions reads consul/*.json strictly, by the service's name.
func definitions(t *testing.T) map[string]definition {
	t.Helper()
	files, err := filepath.Glob("consul/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]definition{}
	for _, file := range files {
		decoder := json.NewDecoder(bytes.NewReader([]byte(read(t, file))))
		decoder.DisallowUnknownFields()
		var d definition
		if err := decoder.Decode(&d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[d.Service.Name] = d
	}
	return all
}

func TestConsulKnowsTheServices(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	known := definitions(t)
	for name, d := range known {
		port := strconv.Itoa(d.Service.Port)
		if s, ok := c.Services[d.Service.Address]; !ok || !slices.Contains(s.listens(), port) {
			t.Errorf("%s: %s:%s is no service of Compose", name, d.Service.Address, port)
		}
		if want := "http://" + net.JoinHostPort(d.Service.Address, port) + "/healthz"; d.Service.Check.HTTP != want {
			t.Errorf("%s: checked at %s, want %s", name, d.Service.Check.HTTP, want)
		}
	}
	files, err := filepath.Glob("routes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("documents: %v, %v", files, err)
	}
	for _, file := range append(files, "config.yaml") {
		for _, match := range regexp.MustCompile(`(?m)^  consul: (\S+)$`).FindAllStringSubmatch(read(t, file), -1) {
			if _, ok := known[match[1]]; !ok {
				t.Errorf("%s: Consul does not know %s", file, match[1])
			}
		}
	}
}

// The shipped files are decoded by the product's own decoder, with the environment that Compose gives each process.
func TestConfigurationIsValid(t *testing.T) {
	for name, s := range readCompose(t).Services {
		if !s.runs("proxy") && !s.runs("controller") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for variable, value := range s.Environment {
				t.Setenv(variable, value)
			}
			c, problems := config.Load("config.yaml")
			for _, problem := range problems {
				t.Error(problem)
			}
			contents := map[string][]byte{}
			files, err := filepath.Glob(filepath.Join(c.Routes, "*.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				contents[filepath.Base(file)] = []byte(read(t, file))
			}
			documents, problems := config.Documents(c.Routes, contents)
			for _, problem := range problems {
				t.Error(problem)
			}
			if len(documents) != 2 {
				t.Errorf("%d documents, want orders and catalog", len(documents))
			}
			if c.State != ".strangler" || !mounted(s, "/srv/strangler/"+c.State) {
				t.Errorf("state in %s, which is not mounted", c.State)
			}
		})
	}
}

func mounted(s service, target string) bool {
	return slices.ContainsFunc(s.Volumes, func(volume string) bool { return strings.Split(volume, ":")[1] == target })
}

// A variable that the program does not read is a setting that does nothing.
func TestVariablesAreRead(t *testing.T) {
	t.Parallel()
	for name, s := range readCompose(t).Services {
		if s.Build == nil {
			continue
		}
		stages := readDockerfile(t, filepath.Join(root, s.Build.Dockerfile))
		source := sources(t, stages, s)
		for variable := range s.Environment {
			if !strings.Contains(source, `"`+variable+`"`) && !strings.Contains(source, "${"+variable+"}") {
				t.Errorf("%s: nobody reads %s", name, variable)
			}
		}
	}
}

// sources is all the text in which a program of ours can name a variable: its code, and the files that it expands.
func sources(t *testing.T, stages []stage, s service) string {
	t.Helper()
	image, _ := byName(stages, s.Build.Target)
	var text strings.Builder
	for _, builder := range stages {
		for output, pkg := range builder.built {
			if !slices.ContainsFunc(image.copies, func(c copied) bool { return c.source == output }) {
				continue
			}
			for _, file := range compiled(t, moduleOf(builder), pkg) {
				text.WriteString(read(t, filepath.Join(root, file)))
			}
		}
	}
	if s.runs("proxy") || s.runs("controller") {
		for _, file := range []string{"config.yaml", "routes/orders.yaml", "routes/catalog.yaml"} {
			text.WriteString(read(t, file))
		}
	}
	return text.String()
}
