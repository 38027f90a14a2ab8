package webhook

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// An announcement is posted once; a yes is 2xx of whoever was asked, and what else is
// said comes back without the secrets of the address.
func TestSend(t *testing.T) {
	t.Parallel()
	var got capability.Announcement
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/yes":
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s of %s", r.Method, r.Header.Get("Content-Type"))
			}
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusNoContent)
		case "/away":
			http.Redirect(w, r, "/yes", http.StatusSeeOther)
		case "/no":
			http.Error(w, "a batch runs until noon\nand more", http.StatusConflict)
		default:
			_, _ = io.Copy(io.Discard, r.Body) // only then is the client watched
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	s := NewSender()
	want := capability.Announcement{Event: capability.Before, Capability: "orders", Owner: capability.Legacy, To: capability.Extracted, Epoch: 7, At: time.Unix(1, 0).UTC()}
	if err := s.Send(t.Context(), server.URL+"/yes?token=geheim", want); err != nil || got != want {
		t.Errorf("%v: got %+v", err, got)
	}
	for path, says := range map[string]string{"/no": "409 Conflict a batch runs until noon", "/away": "303 See Other"} {
		err := s.Send(t.Context(), server.URL+path+"?token=geheim", want)
		if err == nil || !strings.HasSuffix(err.Error(), says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", path, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, server.URL+"/never?token=geheim", want); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a silent one: %v", err)
	}
	server.Close()
	if err := s.Send(t.Context(), server.URL+"/yes?token=geheim", want); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a dead one: %v", err)
	}
}
