package capability

import (
	"fmt"
	"math"
	"testing"
)

// TestShareIsFair: the share of a thousand and more subjects is the weight,
// within three standard deviations of a binomial.
func TestShareIsFair(t *testing.T) {
	t.Parallel()
	const subjects = 100_000
	for _, salt := range []string{"orders", "catalog"} {
		for _, weight := range []Weight{1, 10, 100, 1000, 2500, 5000, 9000, 9999} {
			moved := 0
			for i := range subjects {
				if Assign(salt, fmt.Sprintf("session-%d", i), weight) == Extracted {
					moved++
				}
			}
			p := float64(weight) / float64(Whole)
			sigma := math.Sqrt(subjects * p * (1 - p))
			if off := math.Abs(float64(moved) - subjects*p); off > 3*sigma {
				t.Errorf("salt %s, weight %s: %d of %d moved, %.1f sigma off", salt, weight, moved, subjects, off/sigma)
			}
		}
	}
}

func TestNobodyAndEverybody(t *testing.T) {
	t.Parallel()
	for i := range 50_000 {
		subject := fmt.Sprint(i)
		if Assign("s", subject, 0) != Legacy {
			t.Fatalf("0 %% has %s", subject)
		}
		if Assign("s", subject, Whole) != Extracted {
			t.Fatalf("100 %% lacks %s", subject)
		}
	}
}

// TestRaisingMovesNobodyBack, and lowering nobody forth.
func TestRaisingMovesNobodyBack(t *testing.T) {
	t.Parallel()
	for i := range 2000 {
		was := Legacy
		for weight := Weight(0); weight <= Whole; weight += 7 {
			is := Assign("s", fmt.Sprint(i), weight)
			if was == Extracted && is == Legacy {
				t.Fatalf("subject %d moved back at %s", i, weight)
			}
			was = is
		}
	}
}

// TestSaltsAreIndependent: who is first in one capability is not first in all.
func TestSaltsAreIndependent(t *testing.T) {
	t.Parallel()
	both := 0
	for i := range 100_000 {
		subject := fmt.Sprint(i)
		if Assign("orders", subject, 1000) == Extracted && Assign("catalog", subject, 1000) == Extracted {
			both++
		}
	}
	if both < 850 || both > 1150 {
		t.Errorf("%d of 100000 are in both tenths, want about 1000", both)
	}
}

// TestBucketsStay: a new version must not move everybody.
func TestBucketsStay(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]Weight{"": 4957, "alice": 9180, "192.0.2.7": 2400} {
		if got := Bucket("orders", subject); got != want {
			t.Errorf("Bucket(orders, %q) = %d, was %d", subject, got, want)
		}
	}
}

func BenchmarkAssign(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Assign("orders", "0123456789abcdef0123456789abcdef", 2500)
	}
}

func FuzzParseWeight(f *testing.F) {
	for _, s := range []string{"25%", "0.01%", "100 %", "101%", "1e2%", "-1%", "", "%", ".5%", "0.001%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := ParseWeight(s)
		if err != nil {
			return
		}
		if w < 0 || w > Whole {
			t.Fatalf("%q is %d", s, w)
		}
		if again, err := ParseWeight(w.String()); err != nil || again != w {
			t.Fatalf("%q is %d, written %q, read %d %v", s, w, w, again, err)
		}
	})
}

func TestParseWeight(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Weight{"0%": 0, "25%": 2500, "0.01%": 1, "99.99 %": 9999, "100%": Whole, " 5%": 500} {
		if got, err := ParseWeight(in); err != nil || got != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"101%", "100.01%", "25", "0.5", "-1%", "0.001%", "1e1%", "x%", "%", "", "1/2%", "0x10%"} {
		if got, err := ParseWeight(in); err == nil {
			t.Errorf("%q is taken for %d", in, got)
		}
	}
}
