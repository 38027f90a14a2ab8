package tunnel

import (
	"crypto/rand"
	"encoding/binary"
)

// frames follows where the frames of one direction of a WebSocket begin and end (RFC
// 6455, section 5.2). It reads their heads and looks at no payload. The zero value
// stands before the first frame.
type frames struct {
	masked bool // as a client's have to be, and a server's must not

	head   [14]byte
	have   int    // bytes of the head that are there
	left   uint64 // bytes of the payload that are to come
	closed bool   // a close frame has begun, behind which nothing may come
	lost   bool   // these are no frames
}

// between reports whether the next byte begins a frame.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 && !f.lost }

// pass follows p, up to the end of the frame it begins in if one, and returns how many
// bytes that are.
func (f *frames) pass(p []byte, one bool) (n int) {
	for n < len(p) && !f.lost {
		if f.left > 0 {
			k := min(f.left, uint64(len(p)-n))
			f.left -= k
			n += int(k) //nolint:gosec // no more than len(p)
		} else {
			f.head[f.have] = p[n]
			f.have++
			n++
			f.begin()
		}
		if one && f.between() {
			return n
		}
	}
	return len(p)
}

// begin looks whether the head is there, and takes from it how long the payload is.
func (f *frames) begin() {
	if f.have < 2 {
		return
	}
	size := 2
	short := uint64(f.head[1] & 0x7f)
	switch short {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	lengthEnds := size
	if f.masked {
		size += 4
	}
	opcode, final := f.head[0]&0x0f, f.head[0]&0x80 != 0
	control := opcode >= 8
	if opcode > 10 || 2 < opcode && opcode < 8 || control && (!final || short > 125) || (f.head[1]&0x80 != 0) != f.masked {
		f.lost = true
		return
	}
	if f.have < size {
		return
	}
	switch short {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:lengthEnds]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.head[2:lengthEnds])
	default:
		f.left = short
	}
	f.lost = f.left > 1<<63-1
	f.closed = f.closed || opcode == 8
	f.have = 0
}

// goingAway is a close frame with the status 1001, which says that a server goes down.
func goingAway(masked bool) []byte {
	status := [2]byte{1001 >> 8, 1001 & 0xff}
	if !masked {
		return []byte{0x88, 2, status[0], status[1]}
	}
	var key [4]byte
	_, _ = rand.Read(key[:]) // it never fails
	return []byte{0x88, 0x80 | 2, key[0], key[1], key[2], key[3], status[0] ^ key[0], status[1] ^ key[1]}
}
