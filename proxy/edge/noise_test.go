package edge

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A panic that no handler has caught is logged at ERROR, and a client's noise is not.
func TestPanicsAreLogged(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := &lines{}
	run(t, Options{Listeners: []net.Listener{l}, Log: slog.New(slog.NewJSONHandler(said, nil)),
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") })})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn) // ends when net/http has said it
	if got := said.String(); !strings.Contains(got, `"level":"ERROR","msg":"http: panic serving`) || !strings.Contains(got, "a mistake") {
		t.Errorf("the log says %s", got)
	}
}
