package check

import (
	"testing"

	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }
