package main

import (
	"os"
	"testing"

	"testbed"
)

// TestMain starts servers for the tests that ask for them and stops them after. What
// they print is not to depend on how many open files the machine allows.
func TestMain(m *testing.M) {
	if err := os.Setenv("STRANGLER_EDGE_LIMITS_CONNECTIONS", "1000"); err != nil {
		panic(err)
	}
	testbed.Main(m)
}
