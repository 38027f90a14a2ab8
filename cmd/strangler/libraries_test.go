package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
)

// A side sends more than it has announced: none of it gets into the log, however often
// that happens, and what does is a line of ours.
func TestNothingOfAnAnswerIsLogged(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	var asked atomic.Int64
	go func() {
		for {
			conn, err := in.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close() //nolint:errcheck // nothing is left to lose
				for requests := bufio.NewReader(conn); ; {
					if _, err := http.ReadRequest(requests); err != nil {
						return
					}
					asked.Add(1)
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{\"card\":\"4111 1111\"}\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\n")
				}
			}()
		}
	}()
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the other process writes it
	r := start(t, "log: {access: false}\n", log)
	h := &house{t: t, dir: r.dir}
	h.write("routes/orders.yaml", fmt.Sprintf("capability: orders\nroutes: [{path: /orders/**}]\nextracted: {endpoints: [\"http://%s\"]}\ntraffic: {owner: extracted, weight: 100%%}\n", in.Addr()))
	orders := "http://" + r.clients + "/orders/1"
	r.await("the document is served", func() bool { return r.get(orders) == nil && asked.Load() > 0 })
	for range 50 {
		if err := r.get(orders); err != nil {
			t.Fatal(err)
		}
	}
	r.signal(syscall.SIGTERM)
	r.ends()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte("4111")) || bytes.Contains(content, []byte("forged")) {
		t.Errorf("bytes of answers are in the log:\n%s", content)
	}
	if n := bytes.Count(content, []byte("Unsolicited response")); n == 0 || n > 10 {
		t.Errorf("%d lines about it, want one in ten seconds:\n%s", n, content)
	}
}
