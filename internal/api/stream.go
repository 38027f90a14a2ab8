package api

import (
	"encoding/json"
	"net/http"
	"sync"

	"strangler/capability"
)

// The states in which a stream of progress ends. A stream that ends without one
// of them was cut off: what became of the command must be asked again.
const (
	stateResult = "result"
	stateFailed = "failed"
)

// lines writes progress as one JSON object a line, each sent at once.
type lines struct {
	mu      sync.Mutex
	encoder *json.Encoder // guarded by mu
	flush   func()
}

// stream answers with progress lines while the command runs, and a last line
// with its result or its error. The status is 200 in any case: it is sent before
// the end is known.
func stream(w http.ResponseWriter, run func(report func(capability.Progress)) (any, error)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	l := &lines{encoder: json.NewEncoder(w), flush: func() {}}
	if f, ok := w.(http.Flusher); ok {
		l.flush = f.Flush
	}
	result, err := run(l.report)
	if err != nil {
		l.report(capability.Progress{State: stateFailed, Message: err.Error(), Result: final{result}})
		return
	}
	l.report(capability.Progress{State: stateResult, Result: final{result}})
}

// final marks the last line: steps may fail too, without being the end.
type final struct {
	Value any `json:"value"`
}

func (l *lines) report(p capability.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A reader that has gone away does not stop the command.
	_ = l.encoder.Encode(p)
	l.flush()
}
