//go:build breakpoints

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"

	"strangler/capability"
)

// reach tells the socket that BREAKPOINTS names where a switch has come to, and waits
// until it is answered or closed. Without one it stops nothing.
func reach(ctx context.Context, name string, step capability.StepName, when string) {
	socket := os.Getenv("BREAKPOINTS")
	if socket == "" {
		return
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(conn, "%s %s %s\n", name, when, step)
	_, _ = bufio.NewReader(conn).ReadString('\n')
}
