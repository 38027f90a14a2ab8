package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shipped are the programs whose dependencies end in an image. The tools are not
// among them: tools/lint (GPL) and tools/consul (BUSL) are built for tests only.
var shipped = map[string]string{"../..": "./cmd/strangler", "../../legacy-monolith": "./cmd/shop", "../../extracted": "./..."}

// allowed are the licences under which a dependency may be shipped, each by words
// that are in its text and in no other's.
var allowed = map[string]string{
	"Apache-2.0": "Apache License",
	"MPL-2.0":    "Mozilla Public License, version 2.0",
	"MIT":        "Permission is hereby granted, free of charge",
	"BSD":        "Redistribution and use in source and binary forms",
	"ISC":        "Permission to use, copy, modify, and/or distribute this software",
}

// TestLicences: nothing is shipped under terms that the licence of this project
// could not live with.
func TestLicences(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for dir, packages := range shipped {
		command := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Dir}}{{end}}", packages)
		command.Dir = dir
		out, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			module, folder, found := strings.Cut(strings.TrimSpace(line), " ")
			if !found || seen[module] || slices.Contains([]string{"strangler", "legacy-monolith", "extracted"}, module) {
				continue
			}
			seen[module] = true
			if licence(t, folder) == "" {
				t.Errorf("%s is under a licence that is not on the list", module)
			}
			if module == "testbed" {
				t.Errorf("the test bed is shipped with %s", packages)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d modules were looked at", len(seen))
	}
}

func licence(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "[LlCc][IiOo][CcPp]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // a folder
		}
		for name, words := range allowed {
			if strings.Contains(strings.Join(strings.Fields(string(content)), " "), words) {
				return name
			}
		}
	}
	return ""
}
