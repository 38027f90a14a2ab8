package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

// HTTP/1.0 knows no Host: the host is where the client has come to.
func TestAnOldRequestWithoutHost(t *testing.T) {
	t.Parallel()
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := run(t, Options{Listeners: append(listener(t), unix), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
	})})
	for _, c := range []struct{ head, want string }{
		{"GET / HTTP/1.0\r\n", s.address},
		{"GET / HTTP/1.0\r\nHost: \r\n", s.address},
		{"GET / HTTP/1.0\r\nHost: shop\r\n", "shop"},
		{"GET http://shop/ HTTP/1.0\r\n", "shop"},
	} {
		conn := dial(t, s.address)
		send(t, conn, c.head+"\r\n")
		if res, body := answerOf(t, bufio.NewReader(conn)); res.StatusCode != http.StatusOK || body != c.want {
			t.Errorf("%q: %d, %q, want %q", c.head, res.StatusCode, body, c.want)
		}
	}
	conn, err := net.Dial("unix", unix.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send(t, conn, "GET / HTTP/1.0\r\n\r\n")
	if _, body := answerOf(t, bufio.NewReader(conn)); body != "localhost" {
		t.Errorf("over a Unix socket: %q", body)
	}
}
