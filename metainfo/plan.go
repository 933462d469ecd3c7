package metainfo

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"torrente/bencode"
)

// What a sold torrent may be, so that the ledger can count its units: the size
// of its info dictionary and the number of its files. Of a v1 torrent, whose
// pieces are bought whole, the piece length too.
const (
	MaxSoldInfo          = 1 << 20 // bytes
	MaxSoldFiles         = 10_000
	MaxSoldPieceLengthV1 = 4 << 20 // bytes
)

// Options say what torrent a Plan shall become.
type Options struct {
	V1, V2      bool  // both: a hybrid
	PieceLength int64 // bytes, a power of two from 16 KiB on; 0: AutoPieceLength
	Private     bool
	Pay         *Pay // nil: free
}

// Plan is a torrent to be: its files in order and in their places, waiting for
// their hashes.
type Plan struct {
	Name    string
	Files   []File // sorted as a v2 tree is, pads between them if a hybrid needs them; without roots
	Length  int64  // bytes of the piece space
	Options        // with the piece length chosen
}

// Hashes are what the content of a Plan's files hashes to.
type Hashes struct {
	Pieces []byte              // v1: 20 bytes a piece, pads hashed as zeros
	Roots  [][32]byte          // v2: by index into Plan.Files, zero for empty files and pads
	Layers map[[32]byte][]byte // v2: piece layers by root, of files longer than a piece
}

// NewPlan lays out a torrent. The files have paths below the folder that holds
// the content, its name first (a single file is its own name), and lengths.
// Content whose names would be others after ParseInfo is refused: nobody could
// seed it.
func NewPlan(name string, files []File, o Options) (*Plan, error) {
	p := &Plan{Name: name, Options: o}
	for _, f := range files {
		p.Files = append(p.Files, File{Path: f.Path, Length: f.Length, Executable: f.Executable})
	}
	// Part by part: a tree of dictionaries has no other order (BEP 52).
	slices.SortFunc(p.Files, func(a, b File) int { return slices.Compare(a.Path, b.Path) })
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.PieceLength == 0 {
		p.PieceLength = p.autoPieceLength()
	}
	if err := p.checkPieceLength(); err != nil {
		return nil, err
	}
	if err := p.lay(); err != nil {
		return nil, err
	}
	if n := pieces(p.Length, p.PieceLength); n > MaxPieces {
		return nil, fmt.Errorf("%d pieces, %d is the most allowed: choose a longer piece length", n, MaxPieces)
	}
	return p, nil
}

// single tells whether the torrent is one file without a folder.
func (p *Plan) single() bool { return len(p.Files) == 1 && len(p.Files[0].Path) == 1 }

// check refuses what no piece length can help.
func (p *Plan) check() error {
	if !p.V1 && !p.V2 {
		return errors.New("a torrent is v1, v2 or both")
	}
	total := int64(0)
	for _, f := range p.Files {
		for _, part := range f.Path {
			if clean, err := cleanName([]byte(part)); err != nil || clean != part {
				return fmt.Errorf("the name %q has characters that others cannot have in a file's name: rename it", part)
			}
		}
		if len(f.Path) == 0 || f.Path[0] != p.Name {
			return fmt.Errorf("%s does not lie in %q", quoted(f.Path), p.Name)
		}
		if err := checkPath(f.Path); err != nil {
			return fmt.Errorf("%s: %w", quoted(f.Path), err)
		}
		var err error
		if total, err = place(total, f.Length); err != nil {
			return fmt.Errorf("%s: %w", quoted(f.Path), err)
		}
	}
	switch {
	case total == 0:
		return fmt.Errorf("%q has no data: there is no file that is not empty", p.Name)
	case !p.V1 && len(p.Files) == 1 && len(p.Files[0].Path) == 2:
		return fmt.Errorf("a v2-only torrent cannot tell the folder %q with one file from that file: "+
			"create it from the file, or as a hybrid", p.Name)
	case p.Pay != nil && len(p.Files) > MaxSoldFiles:
		return fmt.Errorf("%d files: a sold torrent has at most %d", len(p.Files), MaxSoldFiles)
	}
	return checkPaths(p.Files)
}

func (p *Plan) checkPieceLength() error {
	// Only a power of two divides into blocks in every program; BEP 3 just
	// recommends it.
	// (The reason is given anew: it names a key of the dictionary.)
	if err := checkPieceLength(p.PieceLength, true); err != nil {
		return fmt.Errorf("the piece length is %d bytes, it must be a power of two from %d to %d", p.PieceLength, BlockLength, MaxPieceLength)
	}
	if p.Pay != nil && !p.V2 && p.PieceLength > MaxSoldPieceLengthV1 {
		return fmt.Errorf("the piece length is %d bytes, in a sold v1 torrent it is at most %d", p.PieceLength, MaxSoldPieceLengthV1)
	}
	return nil
}

// autoPieceLength aims at one to two thousand pieces of 16 KiB to 16 MiB: few
// enough to keep the torrent small, enough to share well. It goes on to longer
// pieces only when there were more than 30,000, so that the hashes stay below
// 1 MiB. Where every file starts a piece, longer pieces than the files are long
// on average only make pads.
func (p *Plan) autoPieceLength() int64 {
	total := int64(0)
	for _, f := range p.Files {
		total += f.Length
	}
	average := total / int64(len(p.Files))
	n := int64(BlockLength)
	for total/n > 2000 && n < 16<<20 && (!p.V2 || n < average) {
		n *= 2
	}
	for total/n > 30_000 && n < MaxPieceLength {
		n *= 2
	}
	if p.Pay != nil && !p.V2 {
		n = min(n, MaxSoldPieceLengthV1)
	}
	return n
}

// lay gives every file its offset. In a v2 torrent a file starts a piece; a
// hybrid says so to v1 programs with pads (BEP 47).
func (p *Plan) lay() (err error) {
	var laid []File
	end := int64(0)
	for _, f := range p.Files {
		if start := pieces(end, p.PieceLength) * p.PieceLength; p.V2 && f.Length > 0 && start != end {
			if p.V1 {
				laid = append(laid, File{Offset: end, Length: start - end, Pad: true})
			}
			end = start
		}
		f.Offset = end
		if end, err = place(end, f.Length); err != nil {
			return fmt.Errorf("%s: %w", quoted(f.Path), err)
		}
		laid = append(laid, f)
	}
	p.Files, p.Length = laid, end
	return nil
}

// Info writes the info dictionary, and reads it back as everyone will.
func (p *Plan) Info(h Hashes) (*Info, error) {
	d := map[string]any{"name": p.Name, "piece length": p.PieceLength}
	if p.Private {
		d["private"] = 1
	}
	if p.Pay != nil {
		d["pay"] = map[string]any{"ledger": p.Pay.Ledger[:], "federation": p.Pay.Federation}
	}
	if p.V1 {
		d["pieces"] = h.Pieces
		p.list(d)
	}
	if p.V2 {
		if len(h.Roots) != len(p.Files) {
			return nil, fmt.Errorf("%d roots for %d files", len(h.Roots), len(p.Files))
		}
		d["meta version"] = 2
		d["file tree"] = p.tree(h.Roots)
	}
	raw, err := bencode.Encode(d)
	if err != nil {
		return nil, err
	}
	if p.Pay != nil && len(raw) > MaxSoldInfo {
		return nil, fmt.Errorf("the info dictionary is %d bytes, that of a sold torrent has at most %d: "+
			"choose a longer piece length or fewer files", len(raw), MaxSoldInfo)
	}
	return ParseInfo(raw)
}

// list adds the v1 list of files.
func (p *Plan) list(d map[string]any) {
	if p.single() {
		d["length"] = p.Files[0].Length
		if p.Files[0].Executable {
			d["attr"] = "x"
		}
		return
	}
	files := make([]any, len(p.Files))
	for i, f := range p.Files {
		e := map[string]any{"length": f.Length}
		switch {
		case f.Pad:
			e["attr"], e["path"] = "p", []string{".pad", strconv.FormatInt(f.Length, 10)}
		default:
			e["path"] = f.Path[1:]
			if f.Executable {
				e["attr"] = "x"
			}
		}
		files[i] = e
	}
	d["files"] = files
}

// tree is the v2 tree of the files: those below the torrent's own folder, or
// the single file.
func (p *Plan) tree(roots [][32]byte) map[string]any {
	tree := map[string]any{}
	for i, f := range p.Files {
		if f.Pad {
			continue
		}
		path := f.Path
		if !p.single() {
			path = path[1:]
		}
		folder := tree
		for _, part := range path[:len(path)-1] {
			next, ok := folder[part].(map[string]any)
			if !ok {
				next = map[string]any{}
				folder[part] = next
			}
			folder = next
		}
		properties := map[string]any{"length": f.Length}
		if f.Length > 0 {
			properties["pieces root"] = roots[i][:]
		}
		if f.Executable {
			properties["attr"] = "x"
		}
		folder[path[len(path)-1]] = map[string]any{"": properties}
	}
	return tree
}
