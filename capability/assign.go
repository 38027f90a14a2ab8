package capability

import "hash/fnv"

// Assign returns the side that answers the reads of one subject while the
// extracted side has the given weight.
//
// The answer depends on the arguments alone, so every replica gives the same
// one, before and after a restart. It is monotone: raising the weight moves
// subjects to the extracted side and none back. The salt, one per group of
// capabilities, keeps the same people from being first everywhere.
func Assign(salt, subject string, weight Weight) Side {
	if Bucket(salt, subject) < weight {
		return Extracted
	}
	return Legacy
}

// Bucket returns the subject's fixed place in 0..Whole-1. Subjects below the
// weight are on the extracted side; the comparison is strict, so that 0 % is
// nobody.
func Bucket(salt, subject string) Weight {
	h := fnv.New64a()
	_, _ = h.Write([]byte(salt)) // hash.Hash.Write never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(subject))
	return Weight(mix(h.Sum64()) % uint64(Whole))
}

// mix spreads the bits of FNV-1a, whose low bits are weak for short inputs that
// differ in the last byte. It is the 64-bit finaliser of MurmurHash3 (Austin
// Appleby, public domain).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return x
}
