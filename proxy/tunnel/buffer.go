package tunnel

import "io"

// buffer is the space for one direction: small while little comes, as it does in
// most tunnels most of the time, large while reads fill it. Ten thousand silent
// WebSockets keep 40 MB in it and not 640.
type buffer struct {
	small [2 << 10]byte
	large []byte // nil while small does
	idle  int    // reads in a row that small would have done for
}

const (
	largeBuffer = 32 << 10
	// enough small reads give the large space back: not the first, or a stream whose
	// pieces differ in size would allocate with every other one.
	enough = 16
)

func (b *buffer) space() []byte {
	if b.large != nil {
		return b.large
	}
	return b.small[:]
}

// fit chooses the space of the next read by how much the last one brought.
func (b *buffer) fit(n int) {
	switch {
	case b.large == nil && n == len(b.small):
		b.large = make([]byte, largeBuffer)
	case b.large != nil && n <= len(b.small):
		if b.idle++; b.idle >= enough {
			b.large, b.idle = nil, 0
		}
	default:
		b.idle = 0
	}
}

// prefixed reads what was read before, then the rest.
type prefixed struct {
	first []byte // nil once it is read
	rest  io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if p.first == nil {
		return p.rest.Read(b)
	}
	n := copy(b, p.first)
	if p.first = p.first[n:]; len(p.first) == 0 {
		p.first = nil
	}
	return n, nil
}
