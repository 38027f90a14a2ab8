package deploy_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the repository, the context that every image is built from.
const root = ".."

// dockerfiles are those that Compose names.
func dockerfiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.Dockerfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("Dockerfiles: %v, %v", files, err)
	}
	return files
}

func TestDockerfilesCopyWhatExists(t *testing.T) {
	t.Parallel()
	for _, file := range dockerfiles(t) {
		stages := readDockerfile(t, file)
		for _, s := range stages {
			for _, c := range s.copies {
				if c.from == "" {
					if _, err := os.Stat(filepath.Join(root, c.source)); err != nil {
						t.Errorf("%s: COPY %s: %v", file, c.source, err)
					}
					continue
				}
				from, ok := byName(stages, c.from)
				if !ok {
					t.Errorf("%s: COPY --from=%s: no such stage", file, c.from)
				} else if from.built[c.source] == "" && !slices.Contains(from.made, c.source) {
					t.Errorf("%s: COPY --from=%s %s: nothing there makes it", file, c.from, c.source)
				}
			}
		}
	}
}

func TestImagesRunWhatTheyCopyAndNotAsRoot(t *testing.T) {
	t.Parallel()
	for _, file := range dockerfiles(t) {
		for _, s := range readDockerfile(t, file) {
			if len(s.built) > 0 {
				continue // a builder, not an image that runs
			}
			if !strings.HasSuffix(s.from, ":nonroot") {
				t.Errorf("%s: stage %q runs as root: FROM %s", file, s.name, s.from)
			}
			if !slices.ContainsFunc(s.copies, func(c copied) bool { return c.target == s.entrypoint }) {
				t.Errorf("%s: stage %q starts %q, which nobody copied", file, s.name, s.entrypoint)
			}
		}
	}
}

// Everything that a program is compiled from, and every file it embeds, must have been copied before it is built.
func TestDockerfilesCopyAllThatIsCompiled(t *testing.T) {
	t.Parallel()
	for _, file := range dockerfiles(t) {
		for _, s := range readDockerfile(t, file) {
			for output, pkg := range s.built {
				module := moduleOf(s)
				for _, need := range compiled(t, module, pkg) {
					if !s.has(need) {
						t.Errorf("%s: %s needs %s, which is not copied", file, path.Base(output), need)
					}
				}
			}
		}
	}
}

// moduleOf is the repository's folder that a builder stage works in.
func moduleOf(s stage) string {
	return strings.TrimPrefix(strings.TrimPrefix(s.workdir, "/src"), "/")
}

// has says whether a file of the repository lies where it does in the repository, below /src.
func (s stage) has(file string) bool {
	want := path.Join("/src", file)
	return slices.ContainsFunc(s.copies, func(c copied) bool {
		return c.from == "" && (c.target == want || strings.HasPrefix(want, c.target+"/")) &&
			path.Join("/src", c.source) == c.target // copied to its own place
	})
}

// compiled lists the files of ours that the package's binary is made of, relative to the repository.
func compiled(t *testing.T, module, pkg string) []string {
	t.Helper()
	const each = `{{if .Module}}{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{end}}`
	cmd := exec.Command("go", "list", "-deps", "-f", each, pkg)
	cmd.Dir = filepath.Join(root, module)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s in %s: %v", pkg, cmd.Dir, err)
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{path.Join(module, "go.mod"), path.Join(module, "go.sum")}
	for _, file := range strings.Fields(string(out)) {
		if relative, ours := strings.CutPrefix(file, here+"/"); ours {
			files = append(files, relative)
		}
	}
	return files
}
