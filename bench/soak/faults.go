package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// fault is one way in which an upstream fails, and what its clients must see.
type fault struct {
	name    string
	refuses bool                                     // no connection is taken
	early   bool                                     // the answer comes before the body is read
	hangs   bool                                     // the connection stays open until the proxy closes it
	alone   bool                                     // its trials are made one after another, because they share a connection
	slow    bool                                     // it is asked on the routes with the long timeout
	answer  func(id string) string                   // what is sent, in whole or in part
	act     func(conn net.Conn, text string)         // after the request was read
	stream  func(http.ResponseWriter, *http.Request) // in place of answer and act: at the upstream that speaks HTTP/2
	read    outcome                                  // of a read
	write   outcome                                  // of a write; nothing of it is ever sent twice
	// stands says that a read which may fall back is answered by the monolith instead. A read with a body may only where
	// nothing was sent.
	stands bool
}

// outcome is what the client gets.
type outcome struct {
	status int
	broken bool   // the body ends with an error, and not as if it were whole
	body   string // where it is whole and the upstream's
}

func (o outcome) String() string {
	switch {
	case o.broken:
		return fmt.Sprintf("%d and a body that breaks off", o.status)
	case o.body != "":
		return fmt.Sprintf("%d %q", o.status, o.body)
	}
	return fmt.Sprint(o.status)
}

// Only the upstream's end of the connection is touched here; that it may be closed already is part of the faults.
func send(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0) // the kernel sends RST instead of FIN
	_ = conn.Close()                     // see send
}

// dribble sends one byte a second.
func dribble(conn net.Conn, text string) {
	for _, b := range []byte(text) {
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func half(conn net.Conn, text string) { send(conn, text[:len(text)-5]) }

// inHead is cut in the middle of a header.
func inHead(text string) string { return text[:strings.Index(text, "Content")+4] }

// closing is sized, and says that the connection is of no more use: it would be given the next request otherwise, which
// nobody reads.
func closing(id string) string {
	return strings.Replace(sized(id), "\r\n", "\r\nConnection: close\r\n", 1)
}

func sized(id string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\n%s: %s\r\nContent-Length: 10\r\n\r\n0123456789", headerID, id)
}

func chunked(id string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\n%s: %s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n", headerID, id)
}

func constantly(text string) func(string) string { return func(string) string { return text } }

var (
	whole     = outcome{status: http.StatusOK, body: "0123456789"}
	broken    = outcome{status: http.StatusOK, broken: true}
	bad       = outcome{status: http.StatusBadGateway}
	timedOut  = outcome{status: http.StatusGatewayTimeout}
	untouched = outcome{status: http.StatusServiceUnavailable}
	tooLarge  = outcome{status: http.StatusRequestEntityTooLarge, body: "too large\n"}
)

// faults is the matrix's first axis.
var faults = []fault{
	{name: "refuses", refuses: true, read: untouched, write: untouched, stands: true},
	{name: "stalls", hangs: true, answer: sized, act: func(net.Conn, string) {}, read: timedOut, write: timedOut},
	{name: "stalls in the status line", hangs: true, answer: sized, act: func(c net.Conn, text string) { send(c, text[:11]) }, read: timedOut, write: timedOut},
	{name: "stalls in the header", hangs: true, answer: sized, act: func(c net.Conn, text string) { send(c, inHead(text)) }, read: timedOut, write: timedOut},
	{name: "stalls in the body", hangs: true, answer: sized, act: half, read: broken, write: broken},
	{name: "stalls between chunks", hangs: true, answer: chunked, act: half, read: broken, write: broken},
	{name: "resets at once", answer: sized, act: func(c net.Conn, _ string) { reset(c) }, read: bad, write: bad, stands: true},
	{name: "closes at once", answer: sized, act: func(net.Conn, string) {}, read: bad, write: bad, stands: true},
	{name: "resets in the header", answer: sized, act: func(c net.Conn, text string) { send(c, inHead(text)); reset(c) }, read: bad, write: bad, stands: true},
	{name: "closes in the body", answer: sized, act: half, read: broken, write: broken},
	{name: "closes between chunks", answer: chunked, act: half, read: broken, write: broken},
	{name: "garbage", answer: constantly("SSH-2.0-OpenSSH_9.2\r\n\r\n"), act: send, read: bad, write: bad, stands: true},
	{name: "garbage for a header", answer: constantly("HTTP/1.1 200 OK\r\nno header at all\r\n\r\n"), act: send, read: bad, write: bad, stands: true},
	{name: "two lengths", answer: constantly("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 10\r\n\r\n0123456789"), act: send, read: bad, write: bad, stands: true},
	{name: "garbage for a chunk", answer: func(id string) string { return strings.Replace(chunked(id), "\r\n0\r\n", "\r\nzz\r\n", 1) }, act: send, read: broken, write: broken},
	{name: "answers early", early: true, hangs: true, answer: func(id string) string {
		return fmt.Sprintf("HTTP/1.1 413 Too Large\r\n%s: %s\r\nContent-Length: 10\r\nConnection: close\r\n\r\ntoo large\n", headerID, id)
	}, read: tooLarge, write: tooLarge},
	{name: "a byte a second", slow: true, answer: closing, act: func(c net.Conn, text string) {
		send(c, text[:len(text)-6])
		dribble(c, text[len(text)-6:])
	}, read: whole, write: broken},
	{name: "a byte of header a second", slow: true, answer: sized, act: dribble, read: timedOut, write: timedOut},
}
