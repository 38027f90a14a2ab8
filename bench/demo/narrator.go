package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// narrator writes what happens, for people. On a terminal it draws a progress bar and uses colour; elsewhere it writes
// plain lines.
type narrator struct {
	terminal bool

	mu      sync.Mutex // guards what follows: a command's output comes while a bar is drawn
	out     io.Writer
	drawn   bool  // a bar stands in the last line
	decades int64 // of the bar, where plain lines stand for it
}

func newNarrator(out *os.File) *narrator {
	return &narrator{out: out, terminal: isTerminal(out)}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (n *narrator) paint(colour, text string) string {
	if !n.terminal || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (n *narrator) line(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	fmt.Fprintln(n.out, text)
}

// clear takes the bar away. mu is held.
func (n *narrator) clear() {
	if n.drawn {
		fmt.Fprint(n.out, "\r\x1b[K")
		n.drawn = false
	}
}

func (n *narrator) step(title string) { n.line("\n" + n.paint(bold, "▸ "+title)) }

func (n *narrator) say(format string, args ...any) { n.line("  " + fmt.Sprintf(format, args...)) }

func (n *narrator) done(took time.Duration, format string, args ...any) {
	n.line("  " + n.paint(green, "✓ ") + fmt.Sprintf(format, args...) + n.paint(dim, fmt.Sprintf("  %.1f s", took.Seconds())))
}

func (n *narrator) command(text string) { n.line("  " + n.paint(yellow, "$ "+text)) }

// output is a line that a command has written.
func (n *narrator) output(text string) { n.line(n.paint(dim, "  │ ") + text) }

const barWidth = 32

// progress draws the bar; where there is no terminal it writes a line for each tenth.
func (n *narrator) progress(done, total int64, text string) {
	done = min(done, total)
	if total <= 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.terminal {
		if decades := 10 * done / total; decades > n.decades {
			n.decades = decades
			fmt.Fprintf(n.out, "  %3d%%  %s\n", 100*done/total, text)
		}
		return
	}
	full := int(barWidth * done / total)
	n.clear()
	fmt.Fprintf(n.out, "  %s%s %3d%%  %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), 100*done/total, text)
	n.drawn = true
}

// endProgress takes the bar away for good.
func (n *narrator) endProgress() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	n.decades = 0
}

// count writes a number with its thousands apart.
func count[T int | int64](number T) string {
	text := fmt.Sprint(number)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
