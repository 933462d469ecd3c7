package piece

import (
	"errors"
	"math/bits"
)

// ErrSpareBits says that a bitfield has bits set beyond its last piece (BEP 3:
// the peer broke the protocol).
var ErrSpareBits = errors.New("bitfield with spare bits set")

// Bitfield is a set of pieces. On the wire the high bit of the first byte is
// piece 0 (BEP 3).
type Bitfield struct {
	wire []byte
	n    int // pieces there are
	set  int // pieces in the set
}

// NewBitfield is an empty set of n pieces.
func NewBitfield(n int) *Bitfield {
	return &Bitfield{wire: make([]byte, (n+7)/8), n: n}
}

// FullBitfield is the set of all n pieces.
func FullBitfield(n int) *Bitfield {
	f := NewBitfield(n)
	for i := range n {
		f.Set(i)
	}
	return f
}

// ParseBitfield reads the set of n pieces from its wire form, which it copies.
// It fails with ErrSpareBits, or if the length is not that of n pieces.
func ParseBitfield(wire []byte, n int) (*Bitfield, error) {
	if len(wire) != (n+7)/8 {
		return nil, errors.New("bitfield of another length than the torrent's")
	}
	f := &Bitfield{wire: append([]byte(nil), wire...), n: n}
	if spare := uint(len(wire)*8 - n); spare > 0 && wire[len(wire)-1]&(1<<spare-1) != 0 {
		return nil, ErrSpareBits
	}
	for _, b := range wire {
		f.set += bits.OnesCount8(b)
	}
	return f, nil
}

// Has reports whether piece i is in the set; pieces that do not exist are not.
func (f *Bitfield) Has(i int) bool {
	return i >= 0 && i < f.n && f.wire[i>>3]&(0x80>>(i&7)) != 0
}

// Set adds piece i, which must exist, and reports whether it was missing.
func (f *Bitfield) Set(i int) bool {
	if f.Has(i) {
		return false
	}
	f.wire[i>>3] |= 0x80 >> (i & 7)
	f.set++
	return true
}

// Clear removes piece i.
func (f *Bitfield) Clear(i int) {
	if f.Has(i) {
		f.wire[i>>3] &^= 0x80 >> (i & 7)
		f.set--
	}
}

// Add adds all pieces of another set of as many.
func (f *Bitfield) Add(o *Bitfield) {
	f.set = 0
	for i, b := range o.wire {
		f.wire[i] |= b
		f.set += bits.OnesCount8(f.wire[i])
	}
}

// Len is the number of pieces that exist, Count of those in the set.
func (f *Bitfield) Len() int { return f.n }

// Count is the number of pieces in the set.
func (f *Bitfield) Count() int { return f.set }

// Full reports whether all pieces are in the set.
func (f *Bitfield) Full() bool { return f.set == f.n }

// Wire is the set as BEP 3 sends it. It must not be changed.
func (f *Bitfield) Wire() []byte { return f.wire }

// Clone is a copy that shares nothing.
func (f *Bitfield) Clone() *Bitfield {
	return &Bitfield{wire: append([]byte(nil), f.wire...), n: f.n, set: f.set}
}

// HasAnyMissingFrom reports whether the set holds a piece that have lacks.
func (f *Bitfield) HasAnyMissingFrom(have *Bitfield) bool {
	for i, b := range f.wire {
		if b&^have.wire[i] != 0 {
			return true
		}
	}
	return false
}
