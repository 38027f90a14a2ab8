package httpx

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxBody bounds the JSON bodies and forms that a service reads, in bytes.
const maxBody = 1 << 20

// Error is an answer that is not a success. Message is shown to the client; RetryAfter is in seconds,
// 0 leaves the header out. Gate says that the database takes no writes here at the moment.
type Error struct {
	Status     int
	Message    string
	RetryAfter int
	Gate       bool
}

func (e *Error) Error() string { return e.Message }

// Fail makes an Error; a 503 always asks for another try after a second.
func Fail(status int, format string, args ...any) *Error {
	e := &Error{Status: status, Message: fmt.Sprintf(format, args...)}
	if status == http.StatusServiceUnavailable {
		e.RetryAfter = 1
	}
	return e
}

// WriteJSON answers with v. A failure to write means that the client has gone, which nobody here can mend.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// WriteError answers {"error": message}.
func WriteError(w http.ResponseWriter, e *Error) {
	SetHeaders(w, e)
	WriteJSON(w, e.Status, map[string]string{"error": e.Message})
}

// SetHeaders sets what e says to those in between: the pause it asks for, and that the service is well although
// a gate refused the write.
func SetHeaders(w http.ResponseWriter, e *Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	if e.Gate {
		w.Header().Set("X-Strangler-Gate", "closed")
	}
}

// ReadJSON decodes the body into v. An empty body leaves v as it is; anything that is not exactly one
// JSON value is an Error with status 400.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := dec.Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &tooLarge):
		return Fail(http.StatusRequestEntityTooLarge, "request body too large")
	case err != nil:
		return Fail(http.StatusBadRequest, "body is not valid JSON: %v", err)
	}
	if dec.More() {
		return Fail(http.StatusBadRequest, "body holds more than one JSON value")
	}
	return nil
}

// ReadForm parses a posted form of bounded size.
func ReadForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return Fail(http.StatusBadRequest, "form cannot be read: %v", err)
	}
	return nil
}

// QueryInt reads an integer of the query string: fallback when it is absent, held between low and high otherwise.
func QueryInt(r *http.Request, name string, fallback, low, high int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, Fail(http.StatusBadRequest, "%s is not a number", name)
	}
	return min(max(n, low), high), nil
}

// Authorized reports whether r carries the token that services share. No token, no service is let in.
func Authorized(r *http.Request, token string) bool {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}
