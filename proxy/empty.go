package proxy

import (
	"io"
	"net/http"
)

// mostDropped is how much of a body that may not be there is read to keep its
// connection, in bytes; a longer one ends it.
const mostDropped = 64 << 10

// empty makes of a 205 what it may be: an answer without content (RFC 9110, section
// 15.3.6). Clients do not agree on whether one has a body, because its framing says so
// and its status forbids it; who believes the status takes the body for the next answer.
// Content-Length says that there is none to those who look, and nothing follows.
func empty(res *http.Response) {
	if res.StatusCode != http.StatusResetContent {
		return
	}
	res.Header["Content-Length"] = []string{"0"}
	res.ContentLength, res.TransferEncoding, res.Trailer = 0, nil, nil
	res.Body = &dropped{ReadCloser: res.Body, answer: res, left: mostDropped}
}

// dropped is a body of which nobody sees anything.
type dropped struct {
	io.ReadCloser
	answer *http.Response
	left   int
}

func (d *dropped) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.left > 0 {
		n, err := d.ReadCloser.Read(p)
		if d.left -= n; err != nil {
			d.answer.Trailer = nil // came with the end
			return 0, err
		}
	}
	return 0, io.EOF
}
