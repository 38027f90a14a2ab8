package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
)

// alone exchanges a request over a connection of its own, and reads the answer while the body is being sent. net/http's
// transport would send some requests again by itself, and lose an answer that comes while the body cannot be written any
// more because its reader has closed.
func (t *traffic) alone(r *http.Request) (*http.Response, error) {
	conn, err := t.dial(r.Context())
	if err != nil {
		return nil, err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_ = r.Write(conn) // the answer tells, or that there is none
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		err = errors.Join(err, conn.Close())
		<-sent // it has ended with the connection, if not before
		return nil, err
	}
	res.Body = &lonely{ReadCloser: res.Body, conn: conn, sent: sent}
	return res, nil
}

// lonely is the body of an answer whose connection ends with it.
type lonely struct {
	io.ReadCloser
	conn net.Conn
	sent <-chan struct{}
}

func (l *lonely) Close() error {
	err := l.conn.Close()
	<-l.sent // as above
	return err
}
