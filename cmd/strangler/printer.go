package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// printer writes to a person or to a pipe: colour and lines that are written
// over are for terminals only.
type printer struct {
	file     *os.File
	terminal bool

	mu   sync.Mutex // a watch may print beside the command
	over bool       // the last line can be written over; guarded by mu
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		s, p.over = "\r\x1b[K"+s, false
	}
	_, _ = fmt.Fprintln(p.file, s)
}

// progress prints a line that the next one replaces; nothing into a pipe. It is
// cut where the terminal ends, because only one row can be replaced.
func (p *printer) progress(s string) {
	if p.terminal {
		if r := []rune(s); len(r) >= p.columns() {
			s = string(r[:p.columns()-1])
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		_, _ = fmt.Fprint(p.file, "\r\x1b[K"+s)
		p.over = true
	}
}

// rest leaves the last line of progress as it stands: what comes next is
// somebody else's.
func (p *printer) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		_, _ = fmt.Fprintln(p.file)
		p.over = false
	}
}

// entry prints a line of a status behind its label. On a terminal it is broken
// between words, so that what follows stays in its column; into a pipe it is one
// line.
func (p *printer) entry(label, text string) {
	const column = 12
	line := fmt.Sprintf("  %-*s%s", column-2, label, text)
	for _, broken := range wrap(line, column, p.columns()) {
		p.line(broken)
	}
}

// columns is the width of the terminal; 0 where there is none.
func (p *printer) columns() int {
	if !p.terminal {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(p.file.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return int(size.Col)
}

// painting is what colours a text and takes no place.
var painting = regexp.MustCompile("\x1b\\[[0-9;]*m")

// wrap breaks a line between words where it is wider than columns, and begins
// each further one so many blanks in. A word too long for a line stays whole, and
// columns that leave no room break nothing.
func wrap(line string, indent, columns int) (broken []string) {
	if columns <= 2*indent {
		return []string{line}
	}
	width := func(s string) int {
		return utf8.RuneCountInString(painting.ReplaceAllString(strings.TrimRight(s, " "), ""))
	}
	current := ""
	for _, word := range strings.SplitAfter(line, " ") {
		if width(current+word) > columns && width(current) > indent {
			broken = append(broken, strings.TrimRight(current, " "))
			current = strings.Repeat(" ", indent)
		}
		if word != " " || width(current) > indent || broken == nil {
			current += word
		}
	}
	return append(broken, current)
}

// clear begins anew: on a terminal with an empty screen, in a pipe with an empty
// line.
func (p *printer) clear() {
	if p.terminal {
		_, _ = fmt.Fprint(p.file, "\x1b[H\x1b[2J")
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

// clock writes a moment for people: the time, and the day unless that is today.
func clock(t time.Time) string {
	t = t.Local()
	if now := time.Now(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
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
