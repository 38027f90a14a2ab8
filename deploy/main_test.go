package deploy_test

import (
	"testing"

	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }
