package capability

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with what a person wrote, or with the
// databases and upstreams it names: what, where, and how to mend it.
type Problem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"` // 1 is the first; 0 when the problem has no line
	Path    string `json:"path,omitempty"` // traffic.weight
	Value   string `json:"value,omitempty"`
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
}

// Error makes a Problem usable where one error is wanted.
func (p Problem) Error() string { return p.String() }

// String writes the problem on one line, in the form that editors jump to.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		if p.Value != "" {
			fmt.Fprintf(&b, " = %q", p.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Mend != "" {
		b.WriteString("; " + p.Mend)
	}
	return b.String()
}
