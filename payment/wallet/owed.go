package wallet

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// chunkUnits is how many units one row of the owed bucket has a bit for.
const chunkUnits = 4096

// unitChunk has the bit of unit u in word u / 64 of its chunk, at u % 64.
type unitChunk [chunkUnits / 64]uint64

// unitSet holds units of a torrent, in chunks that hold at least one. It remembers
// the chunk that it was asked for last: units come one after the other.
type unitSet struct {
	chunks map[uint32]*unitChunk
	at     uint32
	last   *unitChunk // chunks[at], or nil
}

func newUnitSet() unitSet { return unitSet{chunks: map[uint32]*unitChunk{}} }

// chunk is the one of a unit, or nil.
func (s *unitSet) chunk(unit uint32) *unitChunk {
	if at := unit / chunkUnits; s.last == nil || s.at != at {
		s.at, s.last = at, s.chunks[at]
	}
	return s.last
}

func (s *unitSet) has(unit uint32) bool {
	c := s.chunk(unit)
	return c != nil && c[unit%chunkUnits/64]>>(unit%64)&1 == 1
}

func (s *unitSet) add(unit uint32) {
	c := s.chunk(unit)
	if c == nil {
		c = new(unitChunk)
		s.chunks[s.at], s.last = c, c
	}
	c[unit%chunkUnits/64] |= 1 << (unit % 64)
}

func (c *unitChunk) append(b []byte) []byte {
	for _, word := range c {
		b = binary.BigEndian.AppendUint64(b, word)
	}
	return b
}

func parseChunk(b []byte) (*unitChunk, bool) {
	var c unitChunk
	if len(b) != chunkUnits/8 {
		return nil, false
	}
	for i := range c {
		c[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return &c, true
}

func (c *unitChunk) count() (n int) {
	for _, word := range c {
		n += bits.OnesCount64(word)
	}
	return n
}

func chunkKey(id payment.CommitmentID, at uint32) []byte {
	return binary.BigEndian.AppendUint32(id[:], at)
}

func (b *bought) loadOwed(key, value []byte) bool {
	c, ok := parseChunk(value)
	if !ok || len(key) != len(payment.CommitmentID{})+4 {
		return false
	}
	o, at := b.openings[payment.CommitmentID(key[:32])], binary.BigEndian.Uint32(key[32:])
	if o == nil || at > 1<<32/chunkUnits-1 {
		return false
	}
	o.units.chunks[at] = c
	o.Owed += uint32(c.count())
	return true
}

// owe adds a unit and reports whether it is new.
func (o *opening) owe(unit uint32) bool {
	if o.units.has(unit) {
		return false
	}
	o.units.add(unit)
	if at := unit / chunkUnits; !o.marked || o.recent != at {
		o.changed[at] = struct{}{}
		o.recent, o.marked = at, true
	}
	o.dirty = true
	o.Owed++
	return true
}

// Owed keeps that a unit is owed on a commitment, before the unit counts as
// verified. Each is owed once (P3): it reports false if it was already. When it
// returns the record survives the death of the process, not the loss of power.
// The errors are ErrUnknown, ErrFinal, and those of the disk.
func (w *Wallet) Owed(id payment.CommitmentID, unit uint32) (bool, error) {
	one := [1]payment.Delivery{{Commitment: id, Unit: unit}}
	n, err := w.OwedMany(one[:])
	return n == 1, err
}

// OwedMany is Owed for a batch, with one write, and returns how many were new.
// After an error none of them is kept.
func (w *Wallet) OwedMany(batch []payment.Delivery) (fresh int, err error) {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log.begin()
	if err := b.eachOwed(batch, func(o *opening, unit uint32) {
		if !o.units.has(unit) {
			b.log.addOwed((*[32]byte)(&o.id), unit)
		}
	}); err != nil {
		return 0, err
	}
	failpoint.Hit("wallet.owed.write")
	if err := b.log.commit(); err != nil {
		return 0, err
	}
	failpoint.Hit("wallet.owed.written")
	return fresh, b.eachOwed(batch, func(o *opening, unit uint32) {
		if o.owe(unit) {
			fresh++
		}
	})
}

// eachOwed looks up the openings of a batch, most of which are the same.
func (b *bought) eachOwed(batch []payment.Delivery, do func(o *opening, unit uint32)) error {
	var o *opening
	for i := range batch {
		d := &batch[i]
		if o == nil || o.id != d.Commitment {
			if o = b.openings[d.Commitment]; o == nil {
				return fmt.Errorf("%w: %s", ErrUnknown, d.Commitment)
			}
		}
		if o.Ended {
			return fmt.Errorf("%w: %s", ErrFinal, d.Commitment)
		}
		do(o, d.Unit)
	}
	return nil
}

// OwedUnits returns the units owed on a commitment, ended or not, in rising
// order. The error is ErrUnknown.
func (w *Wallet) OwedUnits(id payment.CommitmentID) ([]uint32, error) {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.openings[id]
	if o == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	units := make([]uint32, 0, o.Owed)
	for _, at := range slices.Sorted(maps.Keys(o.units.chunks)) {
		for i, word := range o.units.chunks[at] {
			for ; word != 0; word &= word - 1 {
				units = append(units, at*chunkUnits+uint32(64*i+bits.TrailingZeros64(word)))
			}
		}
	}
	return units, nil
}
