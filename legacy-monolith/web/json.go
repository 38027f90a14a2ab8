package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"
)

// maxBody bounds every request body, in bytes.
const maxBody = 1 << 20

// WriteJSON answers with status and v. An error means the client has gone.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}

// ReadJSON decodes the body into v; an empty body leaves v as it is.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &tooLarge):
		return err
	}
	return Refuse(http.StatusBadRequest, "body is not the expected JSON: "+err.Error())
}

// PathID reads a numeric variable of the route.
func PathID(r *http.Request, name string) (int64, error) {
	id, err := strconv.ParseInt(mux.Vars(r)[name], 10, 64)
	if err != nil {
		return 0, Refuse(http.StatusNotFound, "no such "+name)
	}
	return id, nil
}

// QueryInt reads an integer of the query string: fallback when absent, held
// between low and high otherwise.
func QueryInt(r *http.Request, name string, fallback, low, high int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, Refuse(http.StatusBadRequest, name+" is not a number")
	}
	return min(max(n, low), high), nil
}

// CheckText refuses what PostgreSQL cannot store as text.
func CheckText(name, text string) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return Refuse(http.StatusBadRequest, name+" is not valid text")
	}
	return nil
}
