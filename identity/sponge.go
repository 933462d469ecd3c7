package identity

import "math/bits"

// sponge is Lyra2's state of 1024 bits: 12 words of rate and 4 of capacity. It
// is permuted by the rounds of BLAKE2b (RFC 7693) with an all-zero message.
type sponge [16]uint64

const (
	rateWords = 12            // words that one column of the matrix holds
	rateBytes = rateWords * 8 // bytes squeezed between two permutations
	safeWords = 8             // rate while absorbing the password: half the state
	safeBytes = safeWords * 8
	fullTurns = 12 // rounds of BLAKE2b's own permutation
)

// The functions over rows are exempt from the race detector: a derivation's
// memory is known to one goroutine alone, and its tests stay fast.

// column is one cell of Lyra2's matrix, as wide as the sponge's rate.
type column [rateWords]uint64

// blakeIV is BLAKE2b's initialisation vector (RFC 7693 2.6). It fills the second
// half of the state: an all-zero state would be a fixed point of the rounds.
var blakeIV = [8]uint64{
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
}

// mix is BLAKE2b's G (RFC 7693 3.1) without message words.
func mix(a, b, c, d uint64) (uint64, uint64, uint64, uint64) {
	a += b
	d = bits.RotateLeft64(d^a, -32)
	c += d
	b = bits.RotateLeft64(b^c, -24)
	a += b
	d = bits.RotateLeft64(d^a, -16)
	c += d
	b = bits.RotateLeft64(b^c, -63)
	return a, b, c, d
}

// turn applies one round: mix over the four columns, then over the diagonals.
//
//go:norace
func (s *sponge) turn() {
	v0, v4, v8, v12 := mix(s[0], s[4], s[8], s[12])
	v1, v5, v9, v13 := mix(s[1], s[5], s[9], s[13])
	v2, v6, v10, v14 := mix(s[2], s[6], s[10], s[14])
	v3, v7, v11, v15 := mix(s[3], s[7], s[11], s[15])
	s[0], s[5], s[10], s[15] = mix(v0, v5, v10, v15)
	s[1], s[6], s[11], s[12] = mix(v1, v6, v11, v12)
	s[2], s[7], s[8], s[13] = mix(v2, v7, v8, v13)
	s[3], s[4], s[9], s[14] = mix(v3, v4, v9, v14)
}

func (s *sponge) permute() {
	for range fullTurns {
		s.turn()
	}
}

// squeezeRow fills the first row, last column first.
//
//go:norace
func (s *sponge) squeezeRow(out []column) {
	for i := range out {
		copy(out[len(out)-1-i][:], s[:rateWords])
		s.turn()
	}
}

// copyRow fills out from in, the row before it: rows 1 and 2 of the setup.
//
//go:norace
func (s *sponge) copyRow(out, in []column) {
	for i := range in {
		from, to := &in[i], &out[len(out)-1-i]
		for j := range from {
			s[j] ^= from[j]
		}
		s.turn()
		for j := range to {
			to[j] = from[j] ^ s[j]
		}
	}
}

// fillRow fills out from the row before it, again, and again and before, two
// earlier rows, of which again is changed too.
//
//go:norace
func (s *sponge) fillRow(out, prev, again, before []column) {
	for i := range out {
		a, p, b, to := &again[i], &prev[i], &before[i], &out[len(out)-1-i]
		for j := range a {
			s[j] ^= a[j] + p[j] + b[j]
		}
		s.turn()
		for j := range to {
			to[j] = p[j] ^ s[j]
		}
		for j := range a {
			a[j] ^= s[(j+2)%rateWords]
		}
	}
}

// wanderRow changes rows a and b from each other and from columns, chosen by
// the state itself, of p and q. Any of the four rows may be the same one, so
// all is read before a is written, and a is written before b is read again.
//
// Nearly all time is spent here: the state stays in local variables and the
// words of a column are written out one by one, a third faster than in loops.
//
//go:norace
func (s *sponge) wanderRow(a, b, p, q []column) {
	n := uint64(len(a))
	v0, v1, v2, v3 := s[0], s[1], s[2], s[3]
	v4, v5, v6, v7 := s[4], s[5], s[6], s[7]
	v8, v9, v10, v11 := s[8], s[9], s[10], s[11]
	v12, v13, v14, v15 := s[12], s[13], s[14], s[15]
	for i := range a {
		x, y, u, v := &a[i], &b[i], &p[v4%n], &q[v6%n]
		v0 ^= x[0] + y[0] + u[0] + v[0]
		v1 ^= x[1] + y[1] + u[1] + v[1]
		v2 ^= x[2] + y[2] + u[2] + v[2]
		v3 ^= x[3] + y[3] + u[3] + v[3]
		v4 ^= x[4] + y[4] + u[4] + v[4]
		v5 ^= x[5] + y[5] + u[5] + v[5]
		v6 ^= x[6] + y[6] + u[6] + v[6]
		v7 ^= x[7] + y[7] + u[7] + v[7]
		v8 ^= x[8] + y[8] + u[8] + v[8]
		v9 ^= x[9] + y[9] + u[9] + v[9]
		v10 ^= x[10] + y[10] + u[10] + v[10]
		v11 ^= x[11] + y[11] + u[11] + v[11]
		v0, v4, v8, v12 = mix(v0, v4, v8, v12)
		v1, v5, v9, v13 = mix(v1, v5, v9, v13)
		v2, v6, v10, v14 = mix(v2, v6, v10, v14)
		v3, v7, v11, v15 = mix(v3, v7, v11, v15)
		v0, v5, v10, v15 = mix(v0, v5, v10, v15)
		v1, v6, v11, v12 = mix(v1, v6, v11, v12)
		v2, v7, v8, v13 = mix(v2, v7, v8, v13)
		v3, v4, v9, v14 = mix(v3, v4, v9, v14)
		x[0] ^= v0
		x[1] ^= v1
		x[2] ^= v2
		x[3] ^= v3
		x[4] ^= v4
		x[5] ^= v5
		x[6] ^= v6
		x[7] ^= v7
		x[8] ^= v8
		x[9] ^= v9
		x[10] ^= v10
		x[11] ^= v11
		y[0] ^= v2
		y[1] ^= v3
		y[2] ^= v4
		y[3] ^= v5
		y[4] ^= v6
		y[5] ^= v7
		y[6] ^= v8
		y[7] ^= v9
		y[8] ^= v10
		y[9] ^= v11
		y[10] ^= v0
		y[11] ^= v1
	}
	s[0], s[1], s[2], s[3] = v0, v1, v2, v3
	s[4], s[5], s[6], s[7] = v4, v5, v6, v7
	s[8], s[9], s[10], s[11] = v8, v9, v10, v11
	s[12], s[13], s[14], s[15] = v12, v13, v14, v15
}
