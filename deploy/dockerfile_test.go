package deploy_test

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// stage is one FROM of a Dockerfile and what follows it.
type stage struct {
	name, from string
	workdir    string
	copies     []copied
	built      map[string]string // output file: package
	made       []string          // folders
	entrypoint string
}

// copied is one source of a COPY, from the context or from another stage.
type copied struct{ from, source, target string }

var (
	buildLine = regexp.MustCompile(`go build .*-o (\S+) (\./\S+)`)
	mkdirLine = regexp.MustCompile(`mkdir (\S+)`)
)

// readDockerfile understands the instructions that the Dockerfiles here use, and refuses others: a check that skipped
// what it does not know would be none.
func readDockerfile(t *testing.T, file string) []stage {
	t.Helper()
	var stages []stage
	for number, line := range strings.Split(read(t, file), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" || word == "#" || strings.HasPrefix(word, "#") {
			continue
		}
		if word == "FROM" {
			fields := strings.Fields(rest)
			s := stage{from: fields[0], workdir: "/", built: map[string]string{}}
			if len(fields) == 3 && fields[1] == "AS" {
				s.name = fields[2]
			}
			stages = append(stages, s)
			continue
		}
		if len(stages) == 0 {
			t.Fatalf("%s:%d: %s before FROM", file, number+1, word)
		}
		if err := stages[len(stages)-1].instruct(word, rest); err != nil {
			t.Fatalf("%s:%d: %v", file, number+1, err)
		}
	}
	return stages
}

func (s *stage) instruct(word, rest string) error {
	switch word {
	case "WORKDIR":
		s.workdir = path.Join(s.workdir, rest)
	case "ENV":
	case "COPY":
		return s.copy(strings.Fields(rest))
	case "RUN":
		if m := buildLine.FindStringSubmatch(rest); m != nil {
			s.built[m[1]] = m[2]
		} else if rest != "go mod download" {
			return fmt.Errorf("a command that the test does not know: %s", rest)
		}
		if m := mkdirLine.FindStringSubmatch(rest); m != nil {
			s.made = append(s.made, m[1])
		}
	case "ENTRYPOINT":
		s.entrypoint = strings.Trim(rest, `[]"`)
	default:
		return fmt.Errorf("an instruction that the test does not know: %s", word)
	}
	return nil
}

func (s *stage) copy(fields []string) error {
	var from string
	for len(fields) > 0 && strings.HasPrefix(fields[0], "--") {
		if name, ok := strings.CutPrefix(fields[0], "--from="); ok {
			from = name
		}
		fields = fields[1:]
	}
	if len(fields) < 2 {
		return fmt.Errorf("COPY needs a source and a target: %v", fields)
	}
	target := fields[len(fields)-1]
	folder := len(fields) > 2 || strings.HasSuffix(target, "/")
	if !path.IsAbs(target) {
		target = path.Join(s.workdir, target)
	}
	for _, source := range fields[:len(fields)-1] {
		c := copied{from: from, source: source, target: path.Clean(target)}
		if folder && !isFolder(from, source) { // of a folder, what is in it is copied
			c.target = path.Join(target, path.Base(source))
		}
		s.copies = append(s.copies, c)
	}
	return nil
}

// isFolder says whether a COPY from the context takes a folder.
func isFolder(from, source string) bool {
	info, err := os.Stat(path.Join(root, source))
	return from == "" && err == nil && info.IsDir()
}

// byName finds a stage; the last one where no name is given, as the builder does.
func byName(stages []stage, name string) (stage, bool) {
	if name == "" && len(stages) > 0 {
		return stages[len(stages)-1], true
	}
	for _, s := range stages {
		if s.name == name {
			return s, true
		}
	}
	return stage{}, false
}
