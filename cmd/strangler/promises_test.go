package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that the pages of promises and of limits name is there: a promise
// whose test was renamed or taken away is none any more.
func TestPromisesHaveTests(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	defined := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
	for _, dir := range []string{"../../capability", "../../controller", "../../internal", "../../migrate", "../../proxy", "../../bench", "."} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			for _, m := range defined.FindAllStringSubmatch(string(content), -1) {
				there[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	test := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	for page, least := range map[string]int{"data-plane.md": 100, "data-mover.md": 100, "limits.md": 10, "model.md": 3, "chaos.md": 0} {
		content, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		named := test.FindAllStringSubmatch(string(content), -1)
		if len(named) < least {
			t.Errorf("%s names only %d tests", page, len(named))
		}
		for _, m := range named {
			if !there[m[1]] {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
	}
}

// Every metric that the docs name is one that the code makes.
func TestMetricsInDocsAreThere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	for _, file := range []string{"../../proxy/metrics.go", "../../proxy/edge/metrics.go", "../../internal/telemetry/moves.go"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code += string(content)
	}
	seen := 0
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`strangler_([a-z_]+)`").FindAllStringSubmatch(string(content), -1) {
			seen++
			if !strings.Contains(code, `"strangler_`+m[1]+`"`) && !strings.Contains(code, `"`+strings.TrimPrefix(m[1], "edge_")+`"`) {
				t.Errorf("%s names strangler_%s, which nobody makes", page, m[1])
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d metrics are named", seen)
	}
}
