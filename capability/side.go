package capability

import "fmt"

// Side is one of the two systems that can answer a capability's requests and
// own its tables.
type Side string

// The two sides. There is no third: "nobody yet" is the empty string and never
// stored.
const (
	Legacy    Side = "legacy"
	Extracted Side = "extracted"
)

// Sides lists both sides, legacy first, for callers that do the same to each.
var Sides = [2]Side{Legacy, Extracted}

// Other returns the opposite side.
func (s Side) Other() Side {
	if s == Legacy {
		return Extracted
	}
	return Legacy
}

// ParseSide reads a side as it is written in documents and on the command line.
func ParseSide(s string) (Side, error) {
	switch Side(s) {
	case Legacy, Extracted:
		return Side(s), nil
	}
	return "", fmt.Errorf("%q is no side: write legacy or extracted", s)
}

// Class says whether a request may change data.
type Class string

// Reads follow the weight, may be retried and may fall back; writes follow the
// owner, are held during a switch and are never sent twice.
const (
	Read  Class = "read"
	Write Class = "write"
)
