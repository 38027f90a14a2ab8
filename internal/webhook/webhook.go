// Package webhook tells applications about switches of an owner, by HTTP.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"strangler/capability"
)

// reasonMost is how much of an answer is read for why it is no.
const reasonMost = 300

// Sender sends announcements. It is safe for concurrent use.
type Sender struct{ client *http.Client }

// NewSender returns a Sender. It follows no redirect: a yes has to come from whoever
// was asked.
func NewSender() *Sender {
	return &Sender{client: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Send posts an announcement as JSON. Any answer but 2xx is an error, with the
// beginning of what it says. It blocks until the answer or the end of ctx.
func (s *Sender) Send(ctx context.Context, to string, a capability.Announcement) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode an announcement: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "strangler")
	res, err := s.client.Do(r)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", shown(to), plainly(err))
	}
	defer res.Body.Close()                                      //nolint:errcheck // only read
	text, _ := io.ReadAll(io.LimitReader(res.Body, reasonMost)) // the status says enough
	if res.StatusCode < 200 || res.StatusCode > 299 {
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("webhook %s: %s", shown(to), strings.TrimSpace(res.Status+" "+line))
	}
	return nil
}

// shown is a URL without what may be a secret.
func shown(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return "of the document"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// plainly is the error without the URL, which may have a secret in its query.
func plainly(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
