package process

import (
	"errors"
	"fmt"
	"net"
)

// FreePorts names n different TCP ports of 127.0.0.1 that nobody listened on a moment ago. They are not reserved:
// whoever starts a server on one must cope with losing the race.
func FreePorts(n int) (ports []int, err error) {
	listeners := make([]net.Listener, 0, n)
	defer func() {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
