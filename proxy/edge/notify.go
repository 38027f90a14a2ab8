package edge

import (
	"fmt"
	"net"
	"os"
)

// Notify tells systemd about the state of this service (sd_notify(3)), as
// "READY=1", "STOPPING=1" or "RELOADING=1". Where nobody listens it does nothing.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer func() { _ = c.Close() }() // the datagram is out
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
