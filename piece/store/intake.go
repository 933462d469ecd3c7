package store

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"hash"

	"torrente/piece"
)

// maxFailed is how many failed pieces an Intake remembers block by block, to
// tell later which blocks were false.
const maxFailed = 32

// Incoming is a block that was asked for, exactly one block of the layout.
type Incoming struct {
	Block piece.Block
	Data  []byte
	Leaf  *[32]byte // its proven leaf hash, or nil
}

// Outcome says what became of a block given to an Intake.
type Outcome struct {
	Block piece.Block
	// Proven says that its leaf hash was known.
	Proven bool
	// OK is false if the block is known to be false by its own leaf hash. It is
	// not on disk then.
	OK bool
	// Whole is set when this was the last block of its piece; Good then says
	// whether the piece has the hashes that it should, of all versions.
	Whole, Good bool
	// Inconsistent is set when a whole piece has the right hash of one version
	// and not of the other: the torrent itself is false.
	Inconsistent bool
	// False lists the blocks of an earlier, failed copy of this piece that
	// differ from the good one.
	False []int
	// Err is an error of the disk: the block is not stored.
	Err error
}

// Intake writes and verifies the blocks of the pieces that one worker is
// responsible for. A v2 leaf is hashed and every block written as it arrives.
// SHA-1 runs over a piece in order: blocks that come early are held while there
// is room, else read back later, so that a pool of buffers full of unfinished
// pieces can always move on.
//
// An Intake is used by one goroutine.
type Intake struct {
	store   *Store
	free    func([]byte) // takes back a block's buffer
	drafts  map[uint32]*draft
	failed  map[uint32][]byte
	room    *Room
	scratch [piece.BlockSize]byte

	// What Put works with.
	taken    []taken
	run      [][]byte
	outcomes []Outcome
}

// taken is a block that Put has accepted, with the draft of its piece.
type taken struct {
	Incoming
	draft *draft
	last  bool // it makes its piece whole
}

func (t *taken) number() int { return int(t.Block.Begin / piece.BlockSize) }

// draft is a piece on its way to be whole.
type draft struct {
	written []bool
	missing int
	leaves  []byte         // v2: the SHA-256 of every block, one behind the other
	leafed  []bool         // v2: which of them are known
	proven  int            // v2: blocks that had the leaf hashes that were proven
	sha     hash.Hash      // v1, over the first next blocks
	next    int            // block
	early   map[int][]byte // held blocks beyond next
}

// NewIntake makes an Intake that holds blocks while there is room; free takes
// back every buffer given to Put.
func (s *Store) NewIntake(room *Room, free func([]byte)) *Intake {
	return &Intake{store: s, free: free, room: room, drafts: map[uint32]*draft{}, failed: map[uint32][]byte{}}
}

// Put takes blocks as they came, and owns their data from now on. What follows
// each other is written with one system call. tell is called with the outcomes,
// in parts: who waits for a leaf does not wait for SHA-1 as well. They are valid
// until it returns.
func (in *Intake) Put(blocks []Incoming, tell func([]Outcome)) {
	in.outcomes, in.taken = in.outcomes[:0], in.taken[:0]
	for i := range blocks {
		in.take(&blocks[i])
	}
	written := in.taken[:0]
	for rest := in.taken; len(rest) > 0; {
		n := following(rest)
		if in.write(rest[:n]) {
			written = append(written, rest[:n]...)
		}
		rest = rest[n:]
	}
	in.flush(tell)
	for i := range written {
		t := &written[i]
		in.hash(t.draft, t.number(), t.Data)
		if t.last {
			in.outcomes = append(in.outcomes, in.finish(t))
		}
	}
	in.flush(tell)
}

func (in *Intake) flush(tell func([]Outcome)) {
	if len(in.outcomes) > 0 {
		tell(in.outcomes)
	}
	in.outcomes = in.outcomes[:0]
}

// take accepts a block unless its leaf hash is wrong.
func (in *Intake) take(b *Incoming) {
	t := taken{Incoming: *b, draft: in.draft(b.Block.Piece)}
	if t.draft.leaves != nil {
		sum := sha256.Sum256(b.Data)
		if b.Leaf != nil && *b.Leaf != sum {
			in.free(b.Data)
			in.outcomes = append(in.outcomes, Outcome{Block: b.Block, Proven: true})
			return
		}
		t.draft.setLeaf(t.number(), sum)
	}
	in.taken = append(in.taken, t)
}

// following is how many blocks, from the first on, follow each other in their
// piece.
func following(blocks []taken) int {
	for i := 1; i < len(blocks); i++ {
		a, b := &blocks[i-1].Block, &blocks[i].Block
		if b.Piece != a.Piece || b.Begin != a.Begin+a.Length {
			return i
		}
	}
	return len(blocks)
}

// write stores blocks that follow each other, and reports whether it could.
func (in *Intake) write(run []taken) bool {
	in.run = in.run[:0]
	for i := range run {
		in.run = append(in.run, run[i].Data)
	}
	err := in.store.WriteRun(run[0].Block, in.run)
	for i := range run {
		t := &run[i]
		d, k := t.draft, t.number()
		if err != nil {
			in.free(t.Data)
		} else if !d.written[k] {
			d.written[k] = true
			d.missing--
			t.last = d.missing == 0
			if t.Leaf != nil {
				d.proven++
			}
		}
		if !t.last {
			in.outcomes = append(in.outcomes, Outcome{Block: t.Block, Proven: t.Leaf != nil, OK: err == nil, Err: err})
		}
	}
	return err == nil
}

// Restore tells that blocks of a piece, by number, were verified and are on
// disk from an earlier run.
func (in *Intake) Restore(index int, blocks []int) {
	d := in.draft(uint32(index))
	for _, k := range blocks {
		if !d.written[k] {
			d.written[k] = true
			d.missing--
		}
	}
}

// Close gives back the buffers that are held.
func (in *Intake) Close() {
	for i := range in.drafts {
		in.discard(i)
	}
}

func (in *Intake) draft(index uint32) *draft {
	if d := in.drafts[index]; d != nil {
		return d
	}
	n := in.store.layout.Blocks(int(index))
	d := &draft{written: make([]bool, n), missing: n}
	if in.store.info.HasV1 {
		d.sha = sha1.New()
	}
	if in.store.info.HasV2 {
		d.leaves, d.leafed = make([]byte, n*sha256.Size), make([]bool, n)
	}
	in.drafts[index] = d
	return d
}

func (d *draft) setLeaf(k int, sum [32]byte) {
	copy(d.leaves[k*sha256.Size:], sum[:])
	d.leafed[k] = true
}

// hash feeds SHA-1 as far as blocks are at hand, and holds or frees this one.
func (in *Intake) hash(d *draft, k int, data []byte) {
	switch {
	case d.sha == nil || k < d.next:
		in.free(data)
	case k > d.next && in.room.take():
		if d.early == nil {
			d.early = map[int][]byte{}
		}
		d.early[k] = data
	case k > d.next:
		in.free(data) // read back in finish
	default:
		for ok := true; ok; data, ok = in.takeEarly(d) {
			d.sha.Write(data)
			d.next++
			in.free(data)
		}
	}
}

// takeEarly takes the held block that is next in order, if there is one.
func (in *Intake) takeEarly(d *draft) ([]byte, bool) {
	data, ok := d.early[d.next]
	if ok {
		delete(d.early, d.next)
		in.room.give()
	}
	return data, ok
}

// finish decides on a piece all of whose blocks are written.
func (in *Intake) finish(t *taken) Outcome {
	b, d := t.Block, t.draft
	out := Outcome{Block: b, Proven: t.Leaf != nil, OK: true, Whole: true}
	index := int(b.Piece)
	defer in.discard(b.Piece)
	if out.Err = in.readBack(index, d); out.Err != nil {
		return out
	}
	right1, right2 := in.store.matchV1(index, d), in.store.matchV2(index, d)
	out.Good = right1 && right2
	out.Inconsistent = right1 != right2 && in.store.info.HasV1 && in.store.info.HasV2
	if !out.Good {
		out.Err = in.remember(index, d)
		return out
	}
	if d.leaves != nil {
		in.store.putLeaves(index, d.leaves)
	}
	out.False, out.Err = in.compare(index, d)
	return out
}

// readBack hashes what was written without being held, from the page cache.
func (in *Intake) readBack(index int, d *draft) error {
	for k := range d.written {
		needLeaf := d.leaves != nil && !d.leafed[k]
		if !needLeaf && (d.sha == nil || k < d.next) {
			continue
		}
		data, held := d.early[k]
		if !held {
			var err error
			if data, err = in.load(index, k); err != nil {
				return err
			}
		}
		if needLeaf {
			d.setLeaf(k, sha256.Sum256(data))
		}
		if d.sha != nil && k == d.next {
			d.sha.Write(data)
			d.next++
		}
	}
	return nil
}

func (in *Intake) load(index, k int) ([]byte, error) {
	b := in.store.layout.Block(index, k)
	data := in.scratch[:b.Length]
	return data, in.store.Read(b, data)
}

// digests are the SHA-256 of every block of a whole piece on disk, one behind
// the other.
func (in *Intake) digests(index int, d *draft) ([]byte, error) {
	if d.leaves != nil {
		return d.leaves, nil
	}
	sums := make([]byte, 0, len(d.written)*sha256.Size)
	for k := range d.written {
		data, err := in.load(index, k)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		sums = append(sums, sum[:]...)
	}
	return sums, nil
}

// remember keeps the digests of a failed piece, until a good copy tells which
// blocks were false. Those of an earlier copy are of no use any more: others
// may have sent that one.
func (in *Intake) remember(index int, d *draft) error {
	delete(in.failed, uint32(index))
	if len(in.failed) >= maxFailed {
		return nil
	}
	sums, err := in.digests(index, d)
	if err == nil {
		in.failed[uint32(index)] = sums
	}
	return err
}

// compare lists the blocks of the remembered failed copy that were false.
func (in *Intake) compare(index int, d *draft) (wrong []int, err error) {
	old, ok := in.failed[uint32(index)]
	if !ok {
		return nil, nil
	}
	delete(in.failed, uint32(index))
	sums, err := in.digests(index, d)
	for at := 0; at < len(sums); at += sha256.Size {
		if !bytes.Equal(sums[at:at+sha256.Size], old[at:at+sha256.Size]) {
			wrong = append(wrong, at/sha256.Size)
		}
	}
	return wrong, err
}

func (in *Intake) discard(index uint32) {
	for _, data := range in.drafts[index].early {
		in.free(data)
		in.room.give()
	}
	delete(in.drafts, index)
}
