package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// printer writes to a person or to a pipe: colour and lines that are written
// over are for terminals only.
type printer struct {
	file     *os.File
	terminal bool
	over     bool // the last line can be written over
}

func newPrinter(f *os.File) *printer {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &printer{file: f, terminal: terminal}
}

func (p *printer) paint(code, s string) string {
	if !p.terminal || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *printer) red(s string) string    { return p.paint("31", s) }
func (p *printer) green(s string) string  { return p.paint("32", s) }
func (p *printer) yellow(s string) string { return p.paint("33", s) }
func (p *printer) bold(s string) string   { return p.paint("1", s) }

// line prints one line. What cannot be written to a closed pipe is lost, as with
// every command.
func (p *printer) line(s string) {
	if p.over {
		s, p.over = "\r\x1b[K"+s, false
	}
	_, _ = fmt.Fprintln(p.file, s)
}

// progress prints a line that the next one replaces; nothing into a pipe.
func (p *printer) progress(s string) {
	if p.terminal {
		_, _ = fmt.Fprint(p.file, "\r\x1b[K"+s)
		p.over = true
	}
}

// json prints a value for programs.
func (p *printer) json(value any) error {
	e := json.NewEncoder(p.file)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// table prints rows in columns; the first row is the heading.
func (p *printer) table(rows [][]string) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t")) // a Builder takes everything
	}
	_ = w.Flush()
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i, l := range lines {
		l = strings.TrimRight(l, " ")
		if i == 0 {
			l = p.bold(l)
		}
		p.line(l)
	}
}

// bar draws a share of a whole.
func bar(done, total int64) string {
	const width = 30
	if total < done {
		total = done
	}
	full := 0
	if total > 0 {
		full = int(done * width / total)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}

// short rounds a duration for people.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// size writes bytes for people.
func size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), ""
	for _, suffix = range []string{"KiB", "MiB", "GiB", "TiB"} {
		value /= unit
		if value < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}
