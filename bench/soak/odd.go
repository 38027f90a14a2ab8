package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// oddity is a request in a form that is seldom seen and legal all the same.
type oddity struct {
	name  string
	text  string // $HEAD stands for the headers that every request has
	want  string // what arrives at the upstream; empty for HEAD
	twice bool   // it is two requests in one packet
	slow  bool   // it is sent in single bytes
}

var oddities = []oddity{
	{name: "absolute form", text: "GET $BASE/plain/reflect?a=1 HTTP/1.1\r\n$HEAD\r\n", want: "GET /plain/reflect?a=1 many=0 drop=0 long=0 body="},
	{name: "HTTP/1.0", text: "GET /plain/reflect HTTP/1.0\r\n$HEAD\r\n", want: "GET /plain/reflect? many=0 drop=0 long=0 body="},
	{name: "pipelined", text: "GET /plain/reflect HTTP/1.1\r\n$HEAD\r\n", twice: true, want: "GET /plain/reflect? many=0 drop=0 long=0 body="},
	{name: "chunk extensions", text: "POST /plain/reflect HTTP/1.1\r\n$HEADTransfer-Encoding: chunked\r\n\r\n0005;name=\"va;lue\"\r\nhello\r\n1\r\n!\r\n000;last\r\n\r\n", want: "POST /plain/reflect? many=0 drop=0 long=0 body=hello!"},
	{name: "odd query", text: "GET /plain/reflect?a=1;b=2&&c=%zz&d HTTP/1.1\r\n$HEAD\r\n", want: "GET /plain/reflect?a=1;b=2&&c=%zz&d many=0 drop=0 long=0 body="},
	{name: "escaped letters", text: "GET /pl%61in/%72eflect HTTP/1.1\r\n$HEAD\r\n", want: "GET /plain/reflect? many=0 drop=0 long=0 body="},
	{name: "double slashes", text: "GET //plain///reflect HTTP/1.1\r\n$HEAD\r\n", want: "GET /plain/reflect? many=0 drop=0 long=0 body="},
	{name: "repeated header", text: "GET /plain/reflect HTTP/1.1\r\n$HEADx-many: 1\r\nX-MANY:   2  \r\nX-Many:\r\n\r\n", want: "GET /plain/reflect? many=3 drop=0 long=0 body="},
	{name: "hop by hop", text: "GET /plain/reflect HTTP/1.1\r\n$HEADConnection: close, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: 5\r\n\r\n", want: "GET /plain/reflect? many=0 drop=0 long=0 body="},
	{name: "unusual method", text: "PROPFIND /plain/reflect HTTP/1.1\r\n$HEAD\r\n", want: "PROPFIND /plain/reflect? many=0 drop=0 long=0 body="},
	{name: "GET with a body", text: "GET /plain/reflect HTTP/1.1\r\n$HEADContent-Length: 5\r\n\r\nhello", want: "GET /plain/reflect? many=0 drop=0 long=0 body=hello"},
	{name: "long header", text: "GET /plain/reflect HTTP/1.1\r\n$HEADX-Long: " + strings.Repeat("a", 16<<10) + "\r\n\r\n", want: "GET /plain/reflect? many=0 drop=0 long=16384 body="},
	{name: "single bytes", text: "POST /plain/reflect HTTP/1.1\r\n$HEADContent-Length: 2\r\n\r\nok", slow: true, want: "POST /plain/reflect? many=0 drop=0 long=0 body=ok"},
	{name: "semicolons", text: "GET /plain/;v=1/reflect HTTP/1.1\r\n$HEAD\r\n", want: "GET /plain/;v=1/reflect? many=0 drop=0 long=0 body="},
}

func (t *traffic) odd(ctx context.Context, c *call) error {
	o := oddities[c.random.IntN(len(oddities))]
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	head := fmt.Sprintf("Host: %s\r\n%s: %s\r\nX-User: %s\r\n", t.host, headerID, c.id, c.user)
	text := strings.NewReplacer("$BASE", t.base, "$HEAD", head).Replace(o.text)
	times := 1
	if o.twice {
		text, times = text+text, 2
	}
	if err := sendOdd(conn, text, o.slow); err != nil {
		return fmt.Errorf("send %s: %w", o.name, err)
	}
	reader := bufio.NewReader(conn)
	for range times {
		res, err := http.ReadResponse(reader, nil) //nolint:bodyclose // read to its end below; the connection is ours to close
		if err != nil {
			return fmt.Errorf("read the answer to %s: %w", o.name, err)
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, expect(o.name+": status", http.StatusOK, res.StatusCode), expect(o.name+": arrival of", o.want, string(body))); err != nil {
			return err
		}
	}
	return nil
}

func sendOdd(conn net.Conn, text string, slow bool) error {
	step := len(text)
	if slow {
		step = 1
	}
	for from := 0; from < len(text); from += step {
		if _, err := io.WriteString(conn, text[from:from+step]); err != nil {
			return err
		}
	}
	return nil
}
