package httpx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// maxBody bounds the JSON bodies and forms that a service reads, in bytes.
const maxBody = 1 << 20

// Error is an answer that is not a success. Message is shown to the client; RetryAfter is in seconds,
// 0 leaves the header out.
type Error struct {
	Status     int
	Message    string
	RetryAfter int
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
	SetRetryAfter(w, e)
	WriteJSON(w, e.Status, map[string]string{"error": e.Message})
}

// SetRetryAfter copies the pause that e asks for into the header.
func SetRetryAfter(w http.ResponseWriter, e *Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
}

// ReadJSON decodes the body into v. An empty body leaves v as it is; anything that is not exactly one
// JSON value is an Error with status 400.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	switch err := dec.Decode(v); {
	case errors.Is(err, io.EOF):
		return nil
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

// Limit reads the query parameter limit: 20 when it is absent, held between 1 and 100 otherwise.
func Limit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return 20, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, Fail(http.StatusBadRequest, "limit is not a number")
	}
	return min(max(n, 1), 100), nil
}
