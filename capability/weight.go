package capability

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Weight is a share of subjects in basis points: 0 is nobody, Whole is
// everybody. Integers keep the split exact: a share of 0.01 % is one bucket in
// ten thousand, and 0 % leaks nothing.
type Weight int

// Whole is 100 %, the number of buckets that subjects are hashed into.
const Whole Weight = 10_000

// ErrWeight is returned by ParseWeight for anything that is no share between
// 0 % and 100 % in steps of 0.01 %.
var ErrWeight = errors.New("a weight is a percentage from 0% to 100% in steps of 0.01%")

// ParseWeight reads "25%", "0.01%" or "100 %". The percent sign is required:
// 0.5 could mean a half or half a percent.
func ParseWeight(s string) (Weight, error) {
	number, found := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !found {
		return 0, fmt.Errorf("%q: %w", s, ErrWeight)
	}
	number = strings.TrimSpace(number)
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q: %w", s, ErrWeight)
	}
	share, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%q: %w", s, ErrWeight)
	}
	points := share.Mul(share, big.NewRat(100, 1))
	if !points.IsInt() || points.Cmp(big.NewRat(int64(Whole), 1)) > 0 {
		return 0, fmt.Errorf("%q: %w", s, ErrWeight)
	}
	return Weight(points.Num().Int64()), nil
}

// String writes the weight as a person would: "25%", "0.01%".
func (w Weight) String() string {
	whole, rest := int(w)/100, int(w)%100
	if rest == 0 {
		return fmt.Sprintf("%d%%", whole)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%02d", whole, rest), "0") + "%"
}
