package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// bare serves as net/http does without an edge.
func bare(b *testing.B, handler http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	b.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

func both(b *testing.B, handler http.Handler, measure func(b *testing.B, address string)) {
	b.Run("bare", func(b *testing.B) { measure(b, bare(b, handler)) })
	b.Run("edge", func(b *testing.B) { measure(b, run(b, Options{Handler: handler}).address) })
}

// BenchmarkRequest is one small request on a kept connection.
func BenchmarkRequest(b *testing.B) {
	both(b, text("yes"), func(b *testing.B, address string) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAccept: */*\r\nCookie: session=0123456789\r\n\r\n"); err != nil {
				b.Fatal(err)
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
}

// BenchmarkUpload is a body of 16 MiB, announced or chunked.
func BenchmarkUpload(b *testing.B) {
	const size = 16 << 20
	discard := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			b.Error(n, err)
		}
	})
	for name, length := range map[string]int64{"length": size, "chunked": -1} {
		b.Run(name, func(b *testing.B) {
			both(b, discard, func(b *testing.B, address string) {
				c := client(b)
				b.SetBytes(size)
				for b.Loop() {
					req, err := http.NewRequest(http.MethodPost, "http://"+address, io.LimitReader(zeros{}, size))
					if err != nil {
						b.Fatal(err)
					}
					req.ContentLength = length
					res, err := c.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					res.Body.Close()
				}
			})
		})
	}
}

// BenchmarkDownload is an answer of 16 MiB.
func BenchmarkDownload(b *testing.B) {
	const size = 16 << 20
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(zeros{}, size), make([]byte, 32<<10))
	})
	both(b, handler, func(b *testing.B, address string) {
		c := client(b)
		b.SetBytes(size)
		for b.Loop() {
			res, err := c.Get("http://" + address)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
				b.Fatal(n, err)
			}
			res.Body.Close()
		}
	})
}
