package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// built builds the strangler with its breakpoints.
func built(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a strangler and disturbs it; run without -short")
	}
	binary := filepath.Join(t.TempDir(), "strangler")
	build := exec.Command("go", "build", "-tags", "breakpoints", "-o", binary, "./cmd/strangler")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build strangler: %v\n%s", err, out)
	}
	return binary
}

// A few cells of the matrix, others each time, end well.
func TestSample(t *testing.T) {
	binary := built(t)
	page := filepath.Join(t.TempDir(), "chaos.md")
	if err := os.WriteFile(page, []byte("# Before\n<!-- results of make chaos -->\nof another day\n<!-- end of results -->\nbehind\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := run(t.Context(), []string{"--sample", "6", "--strangler", binary, "--dir", t.TempDir(), "--report", page}, &out)
	t.Logf("%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if s := string(text); err != nil || !strings.Contains(s, "6 cells in") || strings.Contains(s, "another day") || !strings.HasPrefix(s, "# Before\n") || !strings.HasSuffix(s, "\nbehind\n") {
		t.Errorf("the report is %s (%v)", text, err)
	}
}

// What the judge must see, it sees: each of these records is one of a strangler that has broken a promise.
func TestJudge(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	write := func(id string, value, previous int64, from, to int) operation {
		return operation{order: 1, id: id, value: value, answer: answer{Value: previous}, ok: true, start: at(from), end: at(to)}
	}
	unknown := func(id string, value int64, from, to int) operation {
		return operation{order: 1, id: id, value: value, kind: "503", start: at(from), end: at(to)}
	}
	read := func(value int64, from, to int) operation {
		return operation{order: 1, answer: answer{Value: value}, ok: true, start: at(from), end: at(to)}
	}
	entry := func(value, previous int64) logged {
		return logged{order: 1, previous: previous, value: value, times: 1}
	}
	for name, test := range map[string]struct {
		record []operation
		log    map[string]logged
		value  int64
		want   string
	}{
		"one after the other": {[]operation{write("a", 1, 0, 0, 1), read(1, 2, 3), write("b", 2, 1, 4, 5)}, map[string]logged{"a": entry(1, 0), "b": entry(2, 1)}, 2, ""},
		"at once":             {[]operation{write("a", 1, 2, 0, 9), write("b", 2, 0, 1, 8)}, map[string]logged{"a": entry(1, 2), "b": entry(2, 0)}, 1, ""},
		"done, unanswered":    {[]operation{unknown("a", 1, 0, 1), read(0, 2, 3), read(1, 4, 5)}, map[string]logged{"a": entry(1, 0)}, 1, ""},
		"not done":            {[]operation{unknown("a", 1, 0, 1), read(0, 2, 3)}, nil, 0, ""},
		"lost":                {[]operation{write("a", 1, 0, 0, 1)}, nil, 0, "was acknowledged at "},
		"taken back":          {[]operation{write("a", 1, 0, 0, 1), read(0, 2, 3)}, map[string]logged{"a": entry(1, 0)}, 1, "not linearizable"},
		"forked":              {[]operation{write("a", 1, 0, 0, 1), write("b", 2, 0, 2, 3)}, map[string]logged{"a": entry(1, 0), "b": entry(2, 0)}, 2, "not linearizable"},
		"twice":               {[]operation{write("a", 1, 0, 0, 1)}, map[string]logged{"a": {order: 1, value: 1, times: 2}}, 1, "in the log 2 times"},
		"not what it ends in": {[]operation{write("a", 1, 0, 0, 1)}, map[string]logged{"a": entry(1, 0)}, 7, "not linearizable"},
		"another found":       {[]operation{write("a", 1, 5, 0, 1)}, map[string]logged{"a": entry(1, 0)}, 1, "acknowledged with 5 before it"},
	} {
		got := strings.Join(judge(test.record, map[int]int64{1: 0}, history{values: map[int]int64{1: test.value}, log: test.log}, at(1000)), "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// A link that is cut lets nothing through, for whom it is cut, and everything when it is mended.
func TestLink(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				buffer := make([]byte, 100)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						conn.Close()
						return
					}
					conn.Write(buffer[:n])
				}
			}()
		}
	}()
	l, err := newLink(func(int) string { return server.Addr().String() }, func() []int { return []int{os.Getpid()} })
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	conn, err := net.Dial("tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo := func(wait time.Duration) error {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		_, err := conn.Read(make([]byte, 1))
		return err
	}
	say := func() {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if say(); echo(10*time.Second) != nil {
		t.Error("nothing passes")
	}
	for _, pid := range []int{0, os.Getpid()} {
		l.set(pid, true)
		if say(); echo(100*time.Millisecond) == nil {
			t.Errorf("cut for %d, and it passes", pid)
		}
		l.set(pid, false)
		if err := echo(10 * time.Second); err != nil {
			t.Errorf("mended for %d, and what was under way is lost: %v", pid, err)
		}
	}
	l.delay(os.Getpid(), true)
	if say(); echo(slowLeast) == nil {
		t.Error("slow, and quick")
	}
	l.delay(os.Getpid(), false)
	if err := echo(10 * time.Second); err != nil {
		t.Errorf("slow, and what was under way is lost: %v", err)
	}
	l.set(1, true) // another process
	if say(); echo(10*time.Second) != nil {
		t.Error("cut for another process, and nothing passes")
	}
}
