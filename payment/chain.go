package payment

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxLinks is the longest chain: 16 GiB of units (section 2).
const MaxLinks = 1 << 20

// UnitBytes is what one link pays for (section 2): a block of a torrent.
const UnitBytes = 16 << 10

// Seed is the secret that a chain's links come from. One seed serves any
// number of chains: the chain id is hashed with it.
type Seed [32]byte

// Claim is a link and its index: the proof that index units are paid. Index 0
// with the root is the claim to nothing.
type Claim struct {
	Index uint32
	Link  Link
}

// ErrChainLength means a chain of no links or of more than MaxLinks.
var ErrChainLength = errors.New("a chain has 1 to 1048576 links")

// A chain's bytes under SHA-256 fill one block of it, 55 bytes with padding to
// 64: one compression a link (section 2).
//
//	link    "TPL" | chain id 12 | i u64 | L_i   hashes to L_{i-1}
//	deepest "TPS" | chain id 12 | n u64 | seed  hashes to L_n
const (
	linkTag     = "TPL"
	seedTag     = "TPS"
	chainIDAt   = 3
	indexAt     = 15
	linkAt      = 23
	hashedBytes = 55
)

// linkHasher hashes down one chain without allocating.
type linkHasher [hashedBytes]byte

func newLinkHasher(id ChainID) (h linkHasher) {
	copy(h[:], linkTag)
	copy(h[chainIDAt:], id[:])
	return h
}

// below returns L_{i-1}, given L_i.
func (h *linkHasher) below(i uint32, link *Link) Link {
	binary.BigEndian.PutUint64(h[indexAt:], uint64(i))
	copy(h[linkAt:], link[:])
	return sha256.Sum256(h[:])
}

// Verify reports whether deeper.Link pays deeper.Index units on a chain of
// which known is a link, or the root with index 0. It costs one hash for each
// unit between them. What lies outside a chain, or does not lead to known, is
// false; a claim equal to known is true.
func Verify(chain ChainID, known, deeper Claim) bool {
	if deeper.Index > MaxLinks || deeper.Index < known.Index {
		return false
	}
	h := newLinkHasher(chain)
	link := deeper.Link
	for i := deeper.Index; i > known.Index; i-- {
		link = h.below(i, &link)
	}
	return link == known.Link
}

// Below returns the link of a lower index than a claim's, which whoever has the
// claim can make; it is the claim's own for its own index. False: the claim is
// not so deep, or outside of any chain.
func Below(chain ChainID, c Claim, index uint32) (Link, bool) {
	if index > c.Index || c.Index > MaxLinks {
		return Link{}, false
	}
	h := newLinkHasher(chain)
	for i := c.Index; i > index; i-- {
		c.Link = h.below(i, &c.Link)
	}
	return c.Link, true
}

// Chain makes a buyer's links again from its seed. It keeps about 2*sqrt(n)
// of them: a mark every sqrt(n), and the segment between two marks that was
// asked for last. Links asked for in rising order cost one hash each to make
// again, and no allocation. One goroutine at a time may use it.
type Chain struct {
	hasher  linkHasher
	links   uint32
	step    uint32 // links in a segment; the last may have fewer
	root    Link
	marks   []Link // the highest link of each segment
	segment []Link // all links of one segment, lowest first
	loaded  uint32 // which segment that is
}

// NewChain hashes n links down to the root: about 100 ns a link. The error is
// ErrChainLength.
func NewChain(seed Seed, id ChainID, n uint32) (*Chain, error) {
	if n == 0 || n > MaxLinks {
		return nil, fmt.Errorf("%w, not %d", ErrChainLength, n)
	}
	step := uint32(1)
	for step*step < n {
		step++
	}
	c := &Chain{
		hasher: newLinkHasher(id), links: n, step: step,
		marks: make([]Link, (n+step-1)/step), segment: make([]Link, step),
	}
	link := deepest(seed, id, n)
	for s := len(c.marks) - 1; s >= 0; s-- {
		c.marks[s] = link
		link = c.load(uint32(s))
	}
	c.root = link
	return c, nil
}

// deepest returns L_n.
func deepest(seed Seed, id ChainID, n uint32) Link {
	var b [hashedBytes]byte
	copy(b[:], seedTag)
	copy(b[chainIDAt:], id[:])
	binary.BigEndian.PutUint64(b[indexAt:], uint64(n))
	copy(b[linkAt:], seed[:])
	return sha256.Sum256(b[:])
}

// load fills the segment from its mark, and returns the link below it.
func (c *Chain) load(segment uint32) Link {
	first := segment*c.step + 1
	last := min(first+c.step-1, c.links)
	link := c.marks[segment]
	for i := last; i >= first; i-- {
		c.segment[i-first] = link
		link = c.hasher.below(i, &link)
	}
	c.loaded = segment
	return link
}

// Root returns L_0, which the commitment signs.
func (c *Chain) Root() Link { return c.root }

// Len returns the number of links, the root not among them.
func (c *Chain) Len() uint32 { return c.links }

// Link returns L_i, which pays i units, and false if the chain is shorter. It
// is the payer's secret until sent.
func (c *Chain) Link(i uint32) (Link, bool) {
	if i == 0 || i > c.links {
		return c.root, i == 0
	}
	segment := (i - 1) / c.step
	if segment != c.loaded {
		c.load(segment)
	}
	return c.segment[(i-1)%c.step], true
}
