package main

import (
	"testing"

	"testbed"
)

// TestMain starts servers for the tests that ask for them and stops them after.
func TestMain(m *testing.M) { testbed.Main(m) }
