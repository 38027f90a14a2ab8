package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A panic shows in the log as it is written while the strangler is soaked.
func TestCrashedSeesPanics(t *testing.T) {
	for text, want := range map[string]bool{
		`{"level":"INFO","msg":"serving clients"}`: false,
		`{"level":"ERROR","msg":"panic in a handler","panic":"invalid WriteHeader code 99","stack":"goroutine 1"}`: true,
		`{"level":"ERROR","msg":"http: panic serving 127.0.0.1:1: x"}`:                                             true,
		`{"level":"ERROR","msg":"http2: panic serving 127.0.0.1:1: x"}`:                                            true,
		"panic: x\n\ngoroutine 1 [running]:":                                                                       true,
		"WARNING: DATA RACE":                                                                                       true,
	} {
		s := &strangler{log: filepath.Join(t.TempDir(), "log")}
		if err := os.WriteFile(s.log, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.crashed(); (err != nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
