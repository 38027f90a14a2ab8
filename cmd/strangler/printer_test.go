package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	const long = "  breaker   extracted  \x1b[31mopen     \x1b[0m  since 10:01:02, tried again in 3.2s: 4 of 4 requests failed within 10s; the last: answered 500"
	for _, tt := range []struct {
		line    string
		columns int
		want    string
	}{
		{"  data      following", 80, "  data      following"},
		{"  data      following", 0, "  data      following"},
		{long, 0, long}, {long, 24, long},
		{long, 80, "  breaker   extracted  \x1b[31mopen     \x1b[0m  since 10:01:02, tried again in 3.2s: 4 of 4\n" +
			"            requests failed within 10s; the last: answered 500"},
		{"  problem   http://127.0.0.1:9000/a/word/that/is/longer/than/a/line is not", 40,
			"  problem   http://127.0.0.1:9000/a/word/that/is/longer/than/a/line\n            is not"},
		{"  stream    legacy → extracted", 30, "  stream    legacy → extracted"},
		{"  gate      legacy     open", 26, "  gate      legacy\n            open"},
	} {
		if got := strings.Join(wrap(tt.line, 12, tt.columns), "\n"); got != tt.want {
			t.Errorf("%q in %d columns:\n%s\nwant\n%s", tt.line, tt.columns, got, tt.want)
		}
	}
}

// A line of progress that a terminal would break could not be written over.
func TestProgressIsOneRow(t *testing.T) {
	t.Parallel()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()                        //nolint:errcheck // read below
	p := &printer{file: out, terminal: true} // of no known width: 80 columns
	p.progress("  backfill " + strings.Repeat("→", 100))
	p.rest()
	p.line("error: next")
	content, err := os.ReadFile(out.Name())
	if want := "\r\x1b[K  backfill " + strings.Repeat("→", 68) + "\nerror: next\n"; err != nil || string(content) != want {
		t.Errorf("%q, %v; want %q", content, err, want)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	if got := clock(now); !strings.HasSuffix(now.Format(time.DateTime), got) {
		t.Errorf("now is %s", got)
	}
	if got := clock(now.AddDate(-1, 0, 0)); !strings.HasPrefix(got, now.AddDate(-1, 0, 0).Format("2006-01-02 ")) {
		t.Errorf("a year ago is %s", got)
	}
}
