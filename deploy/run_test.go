package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"testbed/consul"
	"testbed/process"
)

// patience bounds every wait for another process here.
const patience = 60 * time.Second

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// plain is the deployment in a plain directory: each service's program built and started as its Dockerfile says, with the
// files that Compose mounts, and every "host:port" replaced by a port of this machine.
type plain struct {
	compose compose
	dir     string
	ports   map[string]string // "host:port" of the deployment to address of this machine
}

// TestRunsFromAPlainDirectory starts everything and asks for pages through both proxies.
func TestRunsFromAPlainDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	t.Parallel()
	p := layOut(t)
	for _, name := range []string{"monolith", "orders", "catalog", "controller", "proxy-1", "proxy-2"} {
		p.start(t, name)
	}
	for name := range definitions(t) {
		p.awaitPassing(t, name)
	}
	for _, proxy := range []string{"proxy-1:8080", "proxy-2:8080"} {
		for _, page := range []string{"/", "/api/catalog/products", "/login"} {
			p.await(t, "http://"+p.ports[proxy]+page, func(r *http.Response, _ []byte) error {
				if by := r.Header.Get("X-Served-By"); r.StatusCode != http.StatusOK || by != "monolith" {
					return fmt.Errorf("%s, served by %q", r.Status, by)
				}
				return nil
			})
		}
	}
	for _, service := range []string{"orders:9003", "catalog:9002"} {
		p.await(t, "http://"+p.ports[service]+"/healthz", func(r *http.Response, body []byte) error {
			if r.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", r.Status, body)
			}
			return nil
		})
	}
}

// layOut chooses the ports and starts what is not ours: the databases and Consul.
func layOut(t *testing.T) *plain {
	t.Helper()
	p := &plain{compose: readCompose(t), dir: t.TempDir(), ports: map[string]string{}}
	for host, services := range p.compose.hosts() {
		for _, port := range p.compose.Services[services[0]].listens() {
			if host == services[0] {
				p.ports[host+":"+port] = freeAddress(t)
			}
		}
	}
	p.ports["gateway:8080"] = p.ports["proxy-1:8080"]
	for _, name := range []string{"legacy-db", "extracted-db"} {
		p.ports[name+":5432"] = address(startDatabase(t, p.compose.Services[name]).Port())
	}
	p.ports["consul:8500"] = p.startConsul(t)
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ports, err := process.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return address(ports[0])
}

// here replaces the deployment's addresses in a text by those of this machine.
func (p *plain) here(text string) string {
	for from, to := range p.ports {
		text = strings.ReplaceAll(text, from, to)
	}
	return text
}

// startConsul gives a real agent the definitions, with addresses of this machine.
func (p *plain) startConsul(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(p.dir, "consul")
	for name, d := range definitions(t) {
		to := p.ports[net.JoinHostPort(d.Service.Address, strconv.Itoa(d.Service.Port))]
		host, port, err := net.SplitHostPort(to)
		if err != nil {
			t.Fatal(err)
		}
		d.Service.Check.HTTP = p.here(d.Service.Check.HTTP)
		d.Service.Address = host
		if d.Service.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".json"), string(text))
	}
	agent, err := consul.Start(t.Context(), consul.Options{ConfigDir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Close(); err != nil {
			t.Error(err)
		}
	})
	return agent.Address()
}

// start builds a service's program and runs it where its files are mounted.
func (p *plain) start(t *testing.T, name string) {
	t.Helper()
	s := p.compose.Services[name]
	binary := p.build(t, s)
	work := filepath.Join(p.dir, name)
	p.mount(t, work, s)
	log, err := os.Create(filepath.Join(p.dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor; nothing was written through this one
	cmd := exec.Command(binary, strings.Fields(p.here(strings.Join(s.Command, " ")))...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = work, log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + work}
	for variable, value := range s.Environment {
		if port, ok := strings.CutPrefix(value, ":"); ok {
			value = p.ports[name+":"+port]
		}
		cmd.Env = append(cmd.Env, variable+"="+p.here(value))
	}
	if at, ok := p.ports[name+":8080"]; ok { // containers share the port of config.yaml; processes of one machine cannot
		cmd.Env = append(cmd.Env, "STRANGLER_LISTEN="+at)
	}
	child, err := process.Start(cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(t, name, child) })
}

// stop wants a graceful end, and shows the log of a service when the test has failed.
func (p *plain) stop(t *testing.T, name string, child *process.Process) {
	if !child.Running() {
		t.Errorf("%s ended by itself: %v", name, child.Err())
	} else if err := child.Stop(syscall.SIGTERM, 20*time.Second); err != nil {
		t.Errorf("%s: %v", name, err)
	} else if err := child.Err(); err != nil {
		t.Errorf("%s did not end well: %v", name, err)
	}
	if t.Failed() {
		text, err := os.ReadFile(filepath.Join(p.dir, name+".log"))
		t.Logf("log of %s (%v):\n%s", name, err, text[max(0, len(text)-4000):])
	}
}

// build runs the Dockerfile's own build command for the image's entry point.
func (p *plain) build(t *testing.T, s service) string {
	t.Helper()
	stages := readDockerfile(t, filepath.Join(root, s.Build.Dockerfile))
	image, _ := byName(stages, s.Build.Target)
	for _, builder := range stages {
		for output, pkg := range builder.built {
			if path.Base(output) != path.Base(image.entrypoint) {
				continue
			}
			binary := filepath.Join(p.dir, "bin", path.Base(output))
			cmd := exec.Command("go", "build", "-o", binary, pkg)
			cmd.Dir = filepath.Join(root, moduleOf(builder))
			cmd.Env = append(os.Environ(), "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", cmd, err, out)
			}
			return binary
		}
	}
	t.Fatalf("%s builds no %s", s.Build.Dockerfile, image.entrypoint)
	return ""
}

// mount lays a service's files out as Compose mounts them below the image's working directory.
func (p *plain) mount(t *testing.T, work string, s service) {
	t.Helper()
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, volume := range s.Volumes {
		parts := strings.Split(volume, ":")
		target := filepath.Join(work, path.Base(parts[1]))
		if !strings.HasPrefix(parts[0], ".") { // a volume, shared by who names it
			shared := filepath.Join(p.dir, "volumes", parts[0])
			if err := os.MkdirAll(shared, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(shared, target); err != nil {
				t.Fatal(err)
			}
			continue
		}
		files := []string{parts[0]}
		if info, err := os.Stat(parts[0]); err == nil && info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(parts[0], "*")); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range files {
			write(t, filepath.Join(work, strings.TrimPrefix(file, "./")), p.here(read(t, file)))
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// awaitPassing waits until Consul's own check of a service passes.
func (p *plain) awaitPassing(t *testing.T, name string) {
	t.Helper()
	p.await(t, "http://"+p.ports["consul:8500"]+"/v1/health/service/"+name+"?passing", func(_ *http.Response, body []byte) error {
		var passing []json.RawMessage
		if err := json.Unmarshal(body, &passing); err != nil {
			return err
		}
		if len(passing) != 1 {
			return fmt.Errorf("%d instances of %s pass", len(passing), name)
		}
		return nil
	})
}

// await asks again until the answer satisfies: other processes start when they start.
func (p *plain) await(t *testing.T, url string, satisfied func(*http.Response, []byte) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		err := ask(ctx, url, satisfied)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", url, err)
		case <-poll.C:
		}
	}
}

func ask(ctx context.Context, url string, satisfied func(*http.Response, []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return satisfied(response, body)
}
