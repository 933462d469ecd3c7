package piece

import (
	"sort"

	"torrente/metainfo"
)

// BlockSize is the length of a block in bytes, the unit of requests and of
// payment; the last block of a file (v2) or torrent (v1) may be shorter.
const BlockSize = metainfo.BlockLength

// Block is a range of a piece: what one request asks for. It is comparable.
type Block struct {
	Piece  uint32
	Begin  uint32 // bytes from the piece's start
	Length uint32 // bytes
}

// Layout tells how a torrent's bytes lie in pieces and blocks.
type Layout struct {
	pieceLength int64
	length      int64 // of the piece space
	pieces      int
	onlyV2      bool
	// ends lists, for torrents whose files begin at pieces (v2, hybrid), where
	// each file's data begins and ends: the rest of its last piece is padding
	// that is never asked for. Empty for v1.
	ends []extent
}

type extent struct{ begin, end int64 }

// NewLayout derives the layout from checked metadata.
func NewLayout(info *metainfo.Info) *Layout {
	l := &Layout{pieceLength: info.PieceLength, length: info.Length, pieces: info.NumPieces(), onlyV2: !info.HasV1}
	if !info.HasV2 {
		return l
	}
	for _, f := range info.Files {
		if !f.Pad && f.Length > 0 {
			l.ends = append(l.ends, extent{f.Offset, f.Offset + f.Length})
		}
	}
	return l
}

// Pieces is the number of pieces.
func (l *Layout) Pieces() int { return l.pieces }

// Start is where a piece begins in the piece space, in bytes.
func (l *Layout) Start(piece int) int64 { return int64(piece) * l.pieceLength }

// Span is the length of a piece in the piece space in bytes, padding included:
// what a v1 hash is over.
func (l *Layout) Span(piece int) int64 {
	return min(l.pieceLength, l.length-l.Start(piece))
}

// Size is the length of a piece's data in bytes, without the padding at a
// file's end: what is asked for and counted.
func (l *Layout) Size(piece int) int64 {
	if len(l.ends) == 0 {
		return l.Span(piece)
	}
	start := l.Start(piece)
	i := sort.Search(len(l.ends), func(i int) bool { return l.ends[i].end > start })
	return min(l.pieceLength, l.ends[i].end-start)
}

// Blocks is the number of blocks in a piece.
func (l *Layout) Blocks(piece int) int {
	return int((l.Size(piece) + BlockSize - 1) / BlockSize)
}

// Block is the k-th block of a piece.
func (l *Layout) Block(piece, k int) Block {
	begin := int64(k) * BlockSize
	return Block{uint32(piece), uint32(begin), uint32(min(BlockSize, l.Size(piece)-begin))}
}

// Holds reports whether b lies within a piece, padding included, as a peer may
// rightly ask of us: some clients ask for padding, and libtorrent takes all
// pieces of a torrent without a v1 part as whole, the last one too. The sum is
// in 64 bits.
func (l *Layout) Holds(b Block) bool {
	if int64(b.Piece) >= int64(l.pieces) || b.Length == 0 {
		return false
	}
	span := l.Span(int(b.Piece))
	if l.onlyV2 {
		span = l.pieceLength
	}
	return int64(b.Begin)+int64(b.Length) <= span
}

// IsUnit reports whether b is exactly one block of this layout: the only shape
// that can be paid for.
func (l *Layout) IsUnit(b Block) bool {
	return int64(b.Piece) < int64(l.pieces) && b.Begin%BlockSize == 0 &&
		int64(b.Begin) < l.Size(int(b.Piece)) && b == l.Block(int(b.Piece), int(b.Begin/BlockSize))
}

// Unit is the number of a block in the whole torrent: each piece has room for
// as many as its length takes. A torrent that is sold has at most 2^32.
func (l *Layout) Unit(b Block) uint32 {
	return uint32(int64(b.Piece)*l.UnitsPerPiece() + int64(b.Begin/BlockSize))
}

// UnitBlock is the block that has a number, if there is one.
func (l *Layout) UnitBlock(unit uint32) (Block, bool) {
	index, k := int64(unit)/l.UnitsPerPiece(), int64(unit)%l.UnitsPerPiece()
	if index >= int64(l.pieces) || k >= int64(l.Blocks(int(index))) {
		return Block{}, false
	}
	return l.Block(int(index), int(k)), true
}

// UnitsPerPiece is how many units the piece length has room for.
func (l *Layout) UnitsPerPiece() int64 { return (l.pieceLength + BlockSize - 1) / BlockSize }

// Bytes is the torrent's data in bytes, padding excluded.
func (l *Layout) Bytes() int64 {
	if len(l.ends) == 0 {
		return l.length
	}
	var sum int64
	for _, e := range l.ends {
		sum += e.end - e.begin
	}
	return sum
}
