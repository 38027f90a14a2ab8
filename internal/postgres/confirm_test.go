package postgres

import (
	"net"
	"sync"
	"testing"

	"strangler/capability"
	"testbed"
)

// TestConfirmingBesideAnEnd: the driver ends a connection whose Receive has failed by a goroutine of its own, while another
// confirms. It needs the race detector to fail.
func TestConfirmingBesideAnEnd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	d, err := Open(t.Context(), capability.Legacy, testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 8 {
		conn, err := d.replication(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f := &feed{conn: conn, side: capability.Legacy}
		var confirming sync.WaitGroup
		confirming.Go(func() {
			for n := capability.Position(1); f.Confirm(n, false) == nil; n++ {
				if n == 20 {
					_ = conn.Conn().(*net.TCPConn).CloseRead() // as if the server had gone without a word
				}
			}
		})
		if r, err := f.Receive(t.Context()); err == nil {
			t.Errorf("received %+v of a server that says nothing", r)
		}
		confirming.Wait()
		<-conn.CleanupDone()
	}
}
