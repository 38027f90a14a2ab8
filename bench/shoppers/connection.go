package shoppers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	answerTimeout = 15 * time.Second // longer than any write may be held
	idleLimit     = 30 * time.Second // well below every server's, so that no request meets a connection that is just being closed
	maxBody       = 4 << 20
	sessionCookie = "session"
)

// answer is one HTTP response, read to its end.
type answer struct {
	status   int
	servedBy string
	location string
	session  string // a session cookie that it sets
	body     []byte
}

// said is the beginning of the body, for a message.
func (a answer) said() string { return fmt.Sprintf("%.200s", bytes.TrimSpace(a.body)) }

// connection is one keep-alive connection of one shopper. It stands in for http.Client because that repeats requests
// on its own (a GET whose connection broke, for one), and this load must not: what fails once has failed.
type connection struct {
	address string
	timeout time.Duration
	now     func() time.Time

	conn   net.Conn // nil: not connected
	reader *bufio.Reader
	used   time.Time
}

func newConnection(address string) *connection {
	return &connection{address: address, timeout: answerTimeout, now: time.Now}
}

// do sends the request and reads the answer. It blocks for at most the timeout. After any error the connection is
// closed, and it is not known whether the request was carried out.
func (c *connection) do(r *http.Request) (answer, error) {
	got, err := c.exchange(r)
	if err != nil {
		return answer{}, errors.Join(fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err), c.close())
	}
	return got, nil
}

func (c *connection) exchange(r *http.Request) (answer, error) {
	now := c.now()
	if err := c.connect(now.Add(c.timeout)); err != nil {
		return answer{}, err
	}
	out := bufio.NewWriter(c.conn)
	if err := errors.Join(r.Write(out), out.Flush()); err != nil {
		return answer{}, err
	}
	response, err := http.ReadResponse(c.reader, r)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return answer{}, err
	}
	c.used = c.now()
	got := answer{
		status: response.StatusCode, servedBy: response.Header.Get("X-Served-By"),
		location: response.Header.Get("Location"), body: body,
	}
	for _, cookie := range response.Cookies() {
		if cookie.Name == sessionCookie {
			got.session = cookie.Value
		}
	}
	if response.Close {
		return got, c.close()
	}
	return got, nil
}

// connect makes sure that there is a connection, and gives it until the deadline.
func (c *connection) connect(deadline time.Time) error {
	if c.conn != nil && c.now().Sub(c.used) > idleLimit {
		if err := c.close(); err != nil {
			return err
		}
	}
	if c.conn == nil {
		conn, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", c.address)
		if err != nil {
			return err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	return c.conn.SetDeadline(deadline)
}

func (c *connection) close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn, c.reader = nil, nil
	return err
}
