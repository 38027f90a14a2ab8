package edge

import (
	"net"
	"syscall"
)

// waiting reports whether bytes of c lie in the kernel, without reading them.
func waiting(c net.Conn) bool {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	fd, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	var b [1]byte
	err = fd.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}
