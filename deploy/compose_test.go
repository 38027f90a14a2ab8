package deploy_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// compose is the part of the Compose format that docker-compose.yaml may use; a key that is not here is refused.
type compose struct {
	Name     string              `yaml:"name"`
	Services map[string]service  `yaml:"services"`
	Volumes  map[string]struct{} `yaml:"volumes"`
}

type service struct {
	Image       string                `yaml:"image"`
	Build       *build                `yaml:"build"`
	Command     []string              `yaml:"command"`
	Environment map[string]string     `yaml:"environment"`
	Ports       []string              `yaml:"ports"`
	Volumes     []string              `yaml:"volumes"`
	Networks    map[string]network    `yaml:"networks"`
	DependsOn   map[string]dependency `yaml:"depends_on"`
	Healthcheck *healthcheck          `yaml:"healthcheck"`
	Restart     string                `yaml:"restart"`
}

type build struct {
	Context    string `yaml:"context"`
	Dockerfile string `yaml:"dockerfile"`
	Target     string `yaml:"target"`
}

type network struct {
	Aliases []string `yaml:"aliases"`
}

type dependency struct {
	Condition string `yaml:"condition"`
}

type healthcheck struct {
	Test     []string `yaml:"test"`
	Interval string   `yaml:"interval"`
	Timeout  string   `yaml:"timeout"`
	Retries  int      `yaml:"retries"`
}

// variable is ${NAME:-default}, the one form of interpolation that the file uses.
var variable = regexp.MustCompile(`\$\{([A-Z_]+):-([^}]*)\}`)

// readCompose decodes the file strictly, with every variable at its default.
func readCompose(t *testing.T) compose {
	t.Helper()
	text := read(t, "docker-compose.yaml")
	text = variable.ReplaceAllString(text, "$2")
	if at := strings.Index(text, "${"); at >= 0 {
		t.Fatalf("a variable without a default: %.30s", text[at:])
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.KnownFields(true)
	var c compose
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hosts are the names under which the services reach each other, with the service behind each.
func (c compose) hosts() map[string][]string {
	hosts := map[string][]string{}
	for name, s := range c.Services {
		hosts[name] = append(hosts[name], name)
		for _, n := range s.Networks {
			for _, alias := range n.Aliases {
				hosts[alias] = append(hosts[alias], name)
			}
		}
	}
	return hosts
}

// listens are the ports that a service opens inside its network.
func (s service) listens() []string {
	switch {
	case strings.HasPrefix(s.Image, "postgres:"):
		return []string{"5432"}
	case strings.HasPrefix(s.Image, "hashicorp/consul:"):
		return []string{"8500"}
	}
	var ports []string
	if _, port, ok := strings.Cut(s.Environment["LISTEN"], ":"); ok {
		ports = append(ports, port)
	}
	switch {
	case s.runs("controller"):
		ports = append(ports, "8090") // config.yaml's admin
	case s.runs("proxy"):
		ports = append(ports, "8080") // config.yaml's listen
		for _, argument := range s.Command {
			if at, ok := strings.CutPrefix(argument, "--admin="); ok {
				ports = append(ports, at[strings.LastIndex(at, ":")+1:])
			}
		}
	}
	return ports
}

func (s service) runs(verb string) bool { return len(s.Command) > 0 && s.Command[0] == verb }
