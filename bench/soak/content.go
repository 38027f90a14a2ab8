package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// most is the size of the largest body.
const most = 1 << 20

// content is one block of noise of which every body is a piece. Both ends have it, so neither has to keep a body to
// compare it, and a piece that belongs to another request does not pass for this one's.
type content struct{ block []byte }

func newContent(seed uint64) *content {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	c := &content{block: make([]byte, 2*most)}
	_, _ = random.Read(c.block) // it never fails
	return c
}

// piece is where one body is in the content.
type piece struct{ at, size int }

// choose picks a body. Most are small, as in life; one in a hundred is up to 1 MiB, and one in ten empty.
func (c *content) choose(random *rand.Rand) piece {
	size := 0
	switch n := random.IntN(100); {
	case n < 10:
	case n < 60:
		size = 1 + random.IntN(1<<10)
	case n < 90:
		size = 1 + random.IntN(16<<10)
	case n < 99:
		size = 1 + random.IntN(128<<10)
	default:
		size = 1 + random.IntN(most)
	}
	return c.sized(random, size)
}

func (c *content) sized(random *rand.Rand, size int) piece {
	return piece{at: random.IntN(len(c.block) - size), size: size}
}

func (c *content) of(p piece) []byte { return c.block[p.at : p.at+p.size] }

// compare reads to the end and says how what came differs from the piece.
func (c *content) compare(from io.Reader, want piece) error {
	rest := c.of(want)
	buffer := make([]byte, min(len(rest)+1, 32<<10))
	for {
		n, err := from.Read(buffer)
		if n > len(rest) {
			return fmt.Errorf("more than the %d bytes", want.size)
		}
		if !bytes.Equal(buffer[:n], rest[:n]) {
			return fmt.Errorf("other bytes after %d of %d", want.size-len(rest), want.size)
		}
		rest = rest[n:]
		switch {
		case errors.Is(err, io.EOF) && len(rest) == 0:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the end after %d of %d bytes", want.size-len(rest), want.size)
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", want.size-len(rest), want.size, err)
		}
	}
}
