package consul

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

func TestNextIndex(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ previous, got, want uint64 }{
		{0, 0, 1}, {0, 7, 7}, {7, 7, 7}, {7, 8, 8}, {8, 7, 0}, {8, 0, 0},
	} {
		if got := nextIndex(row.previous, row.got); got != row.want {
			t.Errorf("%d after %d: got %d, want %d", row.got, row.previous, got, row.want)
		}
	}
}

// Many proxies do not ask in step, and an answer that Consul delays by a sixteenth,
// as it may, is in time.
func TestQuestion(t *testing.T) {
	t.Parallel()
	b, waits := defaultBounds(), map[time.Duration]bool{}
	for range 20 {
		began := time.Now()
		options, cancel := b.question(t.Context(), cursor{index: 7}, b.wait)
		end, bounded := options.Context().Deadline()
		cancel()
		if options.WaitIndex != 7 || !options.AllowStale || options.WaitTime > b.wait || options.WaitTime < b.wait-b.wait/16 {
			t.Errorf("asks %+v", options)
		}
		if least := options.WaitTime + options.WaitTime/16 + b.grace; !bounded || end.Sub(began) < least {
			t.Errorf("given up after %v, want %v", end.Sub(began), least)
		}
		waits[options.WaitTime] = true
	}
	if len(waits) < 2 {
		t.Errorf("in step: %v", waits)
	}
	options, cancel := b.question(t.Context(), cursor{fresh: true}, b.wait)
	defer cancel()
	if options.AllowStale {
		t.Error("a follower may answer what the leader is asked")
	}
}

func TestSuspects(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		good, answer, want string
		doubt              bool
	}{
		{"", "", "", false},
		{"", "a", "", false},
		{"a", "", "a", false},
		{"a", "b", "", false},
		{"a b", "a", "", false},
		{"a b", "c", "a b", false},
		{"a b c", "a", "b c", false},
		{"a b c", "a b", "", false},
		{"a b c", "a b", "c", true},
		{"a b c d", "a b x", "", false},
		{"a b c d", "a x y z", "b c d", false},
	} {
		got := addresses(suspects(listed(row.good), listed(row.answer), row.doubt))
		if !slices.Equal(got, strings.Fields(row.want)) {
			t.Errorf("%q to %q: got %v, want %q", row.good, row.answer, got, row.want)
		}
	}
}

func listed(words string) (all []capability.Instance) {
	for _, word := range strings.Fields(words) {
		all = append(all, capability.Instance{Address: word})
	}
	return all
}

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(0, 0)
	var got []time.Duration
	for range paceBurst + 2 {
		got = append(got, p.delay(now))
	}
	if want := []time.Duration{0, 0, 0, 0, 0, paceStep, 2 * paceStep}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if wait := p.delay(now.Add(time.Minute)); wait != 0 {
		t.Errorf("after a minute: %v", wait)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	b := defaultBounds()
	for failures, most := range map[int]time.Duration{0: b.backoff, 3: 8 * b.backoff, 50: b.longest} {
		if got := b.pause(failures); got < most/2 || got > most {
			t.Errorf("after %d: %v, want %v to %v", failures, got, most/2, most)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	node := &api.Node{Address: "10.0.0.1"}
	for _, row := range []struct {
		name    string
		service api.AgentService
		node    *api.Node
		want    string
	}{
		{"its own", api.AgentService{Address: "10.0.0.2", Port: 80}, node, "http://10.0.0.2:80"},
		{"its node's", api.AgentService{Port: 80}, node, "http://10.0.0.1:80"},
		{"IPv6", api.AgentService{Address: "::1", Port: 80}, node, "http://[::1]:80"},
		{"https by tag", api.AgentService{Port: 80, Tags: []string{"scheme=https"}}, node, "https://10.0.0.1:80"},
		{"https by meta", api.AgentService{Port: 80, Meta: map[string]string{"scheme": "https"}}, node, "https://10.0.0.1:80"},
		{"another scheme", api.AgentService{Port: 80, Tags: []string{"scheme=grpc"}}, node, "http://10.0.0.1:80"},
		{"no port", api.AgentService{Address: "10.0.0.2"}, node, ""},
		{"no address", api.AgentService{Port: 80}, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := address(&api.ServiceEntry{Node: row.node, Service: &row.service})
			if got != row.want || ok != (row.want != "") {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// script answers like Consul in states that a healthy one is never in. It
// records what it was asked, and stays silent when its lines are used up.
func script(t *testing.T, lines ...map[string]string) (address string, asked <-chan string) {
	t.Helper()
	return heldScript(t, nil, lines...)
}

// heldScript keeps each line that has "held" back until the test lets it go: what
// the test looks at meanwhile would otherwise be gone with that line.
func heldScript(t *testing.T, letGo <-chan struct{}, lines ...map[string]string) (address string, asked <-chan string) {
	t.Helper()
	questions := make(chan string, 100)
	next := make(chan map[string]string, len(lines))
	for _, line := range lines {
		next <- line
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		question := "index=" + query.Get("index")
		if query.Has("stale") {
			question += " stale"
		}
		questions <- question
		select {
		case headers := <-next:
			if headers["held"] != "" {
				select {
				case <-letGo:
				case <-r.Context().Done():
					return
				}
			}
			w.Header().Set("X-Consul-Index", "1")
			w.Header().Set("X-Consul-KnownLeader", "true")
			w.Header().Set("X-Consul-LastContact", "0")
			body := "[]"
			for key, text := range headers {
				switch key {
				case "held":
				case "body":
					body = text
				default:
					w.Header().Set("X-Consul-"+key, text)
				}
			}
			_, _ = w.Write([]byte(body)) // the client may be gone
		default:
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, questions
}

const instanceA = `[{"Node": {"Address": "127.0.0.1"}, "Service": {"Service": "s", "Port": 1}}]`

func expectQuestions(t *testing.T, asked <-chan string, want ...string) {
	t.Helper()
	for i, question := range want {
		select {
		case got := <-asked:
			if got != question {
				t.Errorf("question %d: got %q, want %q", i, got, question)
			}
		case <-time.After(deadline):
			t.Fatalf("question %d was not asked", i)
		}
	}
}

func TestIndexRules(t *testing.T) {
	address, asked := script(t,
		map[string]string{"Index": "9", "body": instanceA},
		map[string]string{"Index": "4", "body": instanceA}, // restored from a snapshot
		map[string]string{"Index": "5", "body": instanceA},
	)
	d := start(t, Options{Address: address}, nil)
	d.Watch("s")
	expectQuestions(t, asked, "index= stale", "index=9 stale", "index= stale", "index=5 stale")
	d.await(t, "s", "http://127.0.0.1:1")
}

// A follower that has not heard of its leader for long answers what was: the
// leader is asked instead, and the answer is not used.
func TestStaleAnswers(t *testing.T) {
	address, asked := script(t,
		map[string]string{"Index": "5", "body": instanceA},
		map[string]string{"Index": "9", "LastContact": "11000"},
		map[string]string{"Index": "9", "KnownLeader": "false"},
		map[string]string{"Index": "7", "body": instanceA},
	)
	d := start(t, Options{Address: address}, nil)
	d.Watch("s")
	expectQuestions(t, asked, "index= stale", "index=5 stale", "index=", "index=", "index=7 stale")
	d.await(t, "s", "http://127.0.0.1:1")
}

// A follower is not heard on losses, were they of what does not answer: it may be
// behind without knowing.
func TestLossesAreTheLeadersToTell(t *testing.T) {
	letGo := make(chan struct{})
	address, asked := heldScript(t, letGo,
		map[string]string{"Index": "5", "body": instanceA},
		map[string]string{"Index": "6"},
		map[string]string{"Index": "7", "body": instanceA},
		map[string]string{"Index": "8"},
		map[string]string{"Index": "9", "held": "yes"},
	)
	d := start(t, Options{Address: address}, nil)
	d.Watch("s")
	expectQuestions(t, asked, "index= stale", "index=5 stale", "index=", "index=7 stale", "index=")
	d.await(t, "s", "http://127.0.0.1:1") // whatever two followers have said
	letGo <- struct{}{}
	d.await(t, "s") // the leader says so, and a probe too
	expectQuestions(t, asked, "index=9 stale")
}

// Consul leaves out what a token may not read, and says so in a header alone.
func TestFilteredAnswerIsNoAnswer(t *testing.T) {
	address, asked := script(t,
		map[string]string{"Index": "5", "body": instanceA},
		map[string]string{"Index": "6", "Results-Filtered-By-ACLs": "true"},
	)
	d := start(t, Options{Address: address}, nil)
	d.Watch("s")
	expectQuestions(t, asked, "index= stale", "index=5 stale", "index= stale")
	if got := d.Endpoints("s"); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}
