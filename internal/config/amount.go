package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"strangler/capability"
)

// number reads a whole number of a range.
func number(least, most int64) func(value) (int, bool) {
	return func(v value) (int, bool) {
		n, ok := v.integer(least, most)
		return int(n), ok
	}
}

func (v value) count() (int, bool) { return number(1, math.MaxInt32)(v) }

const durationMend = "write a duration with its unit, as in 500ms or 5s"

// duration reads one above zero.
func (v value) duration() (time.Duration, bool) {
	d, ok := v.anyDuration()
	if ok && d <= 0 {
		v.problem("is not a duration above zero", durationMend)
		return 0, false
	}
	return d, ok
}

// timeout reads a duration above zero, or none, which 0s is as well.
func (v value) timeout() (time.Duration, bool) {
	const mend = durationMend + ", or none"
	text, ok := v.scalar("a duration", mend, "!!str")
	if !ok {
		return 0, false
	}
	if text == "none" {
		return capability.NoTimeout, true
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		v.problem("is no duration", mend)
		return 0, false
	case d < 0:
		v.problem("is a duration below zero", mend)
		return 0, false
	case d == 0:
		return capability.NoTimeout, true
	}
	return d, true
}

// pause reads a duration that may be 0s.
func (v value) pause() (time.Duration, bool) {
	d, ok := v.anyDuration()
	if ok && d < 0 {
		v.problem("is a duration below zero", durationMend)
		return 0, false
	}
	return d, ok
}

func (v value) anyDuration() (time.Duration, bool) {
	text, ok := v.scalar("a duration", durationMend, "!!str")
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		v.problem("is no duration", durationMend)
		return 0, false
	}
	return d, true
}

// size reads bytes: 65536, 512KiB, 64MiB, 1GiB.
func (v value) size() (int64, bool) { return v.bytes(1, math.MaxInt64) }

// sizeOrNone reads a size, or 0 for no limit.
func (v value) sizeOrNone() (int64, bool) { return v.bytes(0, math.MaxInt64) }

func (v value) bytes(least, most int64) (int64, bool) {
	const mend = "write it as in 64MiB"
	text, ok := v.scalar("a size", mend, "!!str", "!!int")
	if !ok {
		return 0, false
	}
	n, ok := parseSize(text)
	switch {
	case !ok:
		v.problem("is no size", mend)
	case n < least && least == 1:
		v.problem("is no size above zero", mend)
	case n < least || n > most:
		v.problem("is out of range", fmt.Sprintf("write a size from %s to %s", sizeText(least), sizeText(most)))
	default:
		return n, true
	}
	return 0, false
}

// units of sizes, largest first.
var units = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func parseSize(text string) (int64, bool) {
	digits, unit := text, int64(1)
	for _, u := range units {
		if rest, found := strings.CutSuffix(text, u.suffix); found {
			digits, unit = strings.TrimSpace(rest), u.bytes
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

func sizeText(n int64) string {
	for _, u := range units {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
