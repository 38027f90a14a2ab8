package orders

import (
	"os"
	"testing"

	"testbed"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashAt) != "" {
		serveUntilCrash()
	}
	testbed.Main(m)
}
