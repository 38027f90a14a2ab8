package stage

import (
	"fmt"
	"net"
	"strconv"

	"testbed/process"
)

// Ports on 127.0.0.1 of everything but the databases.
type Ports struct{ Proxy, Admin, Monolith, Catalog, Orders int }

// usual are those of the shipped configuration.
var usual = Ports{Proxy: 8080, Admin: 8090, Monolith: 9000, Catalog: 9002, Orders: 9003}

func choosePorts(likeUsual bool) (Ports, error) {
	if likeUsual && free(usual.Proxy, usual.Admin, usual.Monolith, usual.Catalog, usual.Orders) {
		return usual, nil
	}
	p, err := process.FreePorts(5)
	if err != nil {
		return Ports{}, err
	}
	return Ports{Proxy: p[0], Admin: p[1], Monolith: p[2], Catalog: p[3], Orders: p[4]}, nil
}

func free(ports ...int) bool {
	for _, port := range ports {
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			return false
		}
		if err := l.Close(); err != nil {
			return false
		}
	}
	return true
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func url(port int) string { return fmt.Sprintf("http://%s", address(port)) }
