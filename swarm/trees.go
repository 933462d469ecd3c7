package swarm

import (
	"crypto/sha256"
	"errors"
	"math/bits"
	"sort"
	"time"

	"torrente/metainfo"
	"torrente/peerwire"
	"torrente/piece"
)

const (
	// hashesAtOnce is the most hashes asked for in one message (BEP 52 lets a
	// peer refuse more than 512).
	hashesAtOnce = 512
	// hashesAsked is how many hash requests one peer has at a time.
	hashesAsked = 8
	// hashPatience is how long an answer may take.
	hashPatience = 15 * time.Second
	// leavesAhead is for how many bytes beyond what is being downloaded the
	// leaves are fetched, in torrents that need them.
	leavesAhead = 24 << 20
)

var errHashAnswer = errors.New("hashes that prove nothing")

// trees knows the hash trees of a v2 torrent as far as they are proven
// (BEP 52), and fetches what is missing: the piece layers, after a magnet
// link, and the leaves, by which each block is judged as it comes. Leaves are
// fetched for sold torrents, where every block is paid, and for pieces that
// failed; they are forgotten when their piece is verified.
type trees struct {
	info   *metainfo.Info
	height int // of the piece layer above the leaves
	files  []treeFile
	layers map[[32]byte][]byte
	leaves map[uint32][]byte // proven, by piece
	strict bool              // no block is asked for whose leaf is unknown
	failed map[uint32]bool   // pieces that need leaves

	wants map[peerwire.HashRange]*want
	queue []*want // not asked of anybody, first come first
	// building are piece layers, by root, and rows the leaves of pieces, of
	// which parts are missing.
	building map[[32]byte]*partialLayer
	rows     map[uint32]*partialLayer
}

// treeFile is a file that has a hash tree.
type treeFile struct {
	root   [32]byte
	length int64 // bytes
	first  int   // piece
	pieces int
}

// want is a row of hashes that is missing. A row of leaves is that of piece;
// of a piece layer it is any.
type want struct {
	r     peerwire.HashRange
	file  *treeFile
	piece uint32
	leaf  bool
	from  *peer // nil: nobody was asked
	since time.Time
}

func newTrees(info *metainfo.Info, layers map[[32]byte][]byte, strict bool) trees {
	t := trees{
		info: info, strict: strict && info.HasV2, layers: map[[32]byte][]byte{}, leaves: map[uint32][]byte{},
		failed: map[uint32]bool{}, wants: map[peerwire.HashRange]*want{},
	}
	if !info.HasV2 {
		return t
	}
	t.height = metainfo.LayerOf(info.PieceLength)
	for _, f := range info.Files {
		if f.Pad || f.Length == 0 {
			continue
		}
		n := int((f.Length + info.PieceLength - 1) / info.PieceLength)
		t.files = append(t.files, treeFile{root: f.Root, length: f.Length, first: int(f.Offset / info.PieceLength), pieces: n})
		if layer := layers[f.Root]; layer != nil {
			t.layers[f.Root] = layer
		}
	}
	t.wantLayers()
	return t
}

// wantLayers queues the rows of all piece layers that are unknown.
func (t *trees) wantLayers() {
	for i := range t.files {
		f := &t.files[i]
		if f.pieces == 1 || t.layers[f.root] != nil {
			continue
		}
		n := min(hashesAtOnce, ceilPow2(f.pieces))
		proofs := treeHeight(f.length) - t.height - 1
		for at := 0; at < f.pieces; at += n {
			t.add(&want{r: peerwire.HashRange{
				Root: f.root, Base: uint32(t.height), Index: uint32(at), Length: uint32(n), Proofs: uint32(proofs),
			}, file: f})
		}
	}
}

// add queues a row, unless it is wanted already (files may be equal).
func (t *trees) add(w *want) {
	if t.wants[w.r] == nil {
		t.wants[w.r] = w
		t.queue = append(t.queue, w)
	}
}

// fileOf is the file of a piece.
func (t *trees) fileOf(index uint32) *treeFile {
	i := sort.Search(len(t.files), func(i int) bool { return t.files[i].first+t.files[i].pieces > int(index) })
	return &t.files[i]
}

// root is the proven hash of a whole piece and the height of its tree.
func (t *trees) root(index uint32) (root [32]byte, height int, ok bool) {
	f := t.fileOf(index)
	if f.pieces == 1 {
		return f.root, treeHeight(f.length), true
	}
	layer, k := t.layers[f.root], int(index)-f.first
	if len(layer) < (k+1)*sha256.Size {
		return root, 0, false
	}
	return [32]byte(layer[k*sha256.Size:]), t.height, true
}

// ready reports whether the blocks of a piece can be judged, and so may be
// asked for. A hybrid that is free can be judged by its v1 hashes alone.
func (t *trees) ready(index int) bool {
	if len(t.files) == 0 {
		return true
	}
	_, height, known := t.root(uint32(index))
	switch {
	case !known:
		return t.info.HasV1 && !t.strict
	case height == 0 || !t.strict && !t.failed[uint32(index)]:
		return true
	}
	return t.leaves[uint32(index)] != nil
}

// leaf is the proven hash of a block, or nil.
func (t *trees) leaf(b piece.Block) *[32]byte {
	if row := t.leaves[b.Piece]; row != nil {
		return (*[32]byte)(row[b.Begin/piece.BlockSize*sha256.Size:])
	}
	return nil
}

// needLeaves asks for the leaves of a piece, once its own hash is known.
func (t *trees) needLeaves(index uint32) {
	_, height, known := t.root(index)
	if !known || height == 0 || t.leaves[index] != nil {
		return
	}
	f := t.fileOf(index)
	n := uint32(1) << height
	at := (index - uint32(f.first)) << t.height
	for row := uint32(0); row < n; row += hashesAtOnce {
		t.add(&want{r: peerwire.HashRange{Root: f.root, Index: at + row, Length: min(n, hashesAtOnce)}, file: f, piece: index, leaf: true})
	}
}

// verified forgets the leaves of a piece that is complete.
func (t *trees) verified(index uint32) {
	delete(t.leaves, index)
	delete(t.failed, index)
}

// giveUp takes back what a peer was asked.
func (t *trees) giveUp(p *peer) {
	for i := len(p.hashesAsked) - 1; i >= 0; i-- {
		t.release(p.hashesAsked[i])
	}
}

// release queues a row again.
func (t *trees) release(w *want) {
	p := w.from
	for i, x := range p.hashesAsked {
		if x == w {
			p.hashesAsked = append(p.hashesAsked[:i], p.hashesAsked[i+1:]...)
			break
		}
	}
	w.from = nil
	t.queue = append(t.queue, w)
}

// advance queues the leaves that will soon be needed, takes rows back from
// peers that are too slow, and asks.
func (t *trees) advance(s *Swarm, now time.Time) {
	if len(t.files) == 0 {
		return
	}
	for _, p := range s.order {
		for i := len(p.hashesAsked) - 1; i >= 0; i-- {
			if w := p.hashesAsked[i]; now.Sub(w.since) > hashPatience {
				t.release(w)
			}
		}
	}
	t.ahead(s)
	t.ask(s, now)
}

// ahead wants the leaves of the pieces that will be begun next.
func (t *trees) ahead(s *Swarm) {
	if !t.strict && len(t.failed) == 0 || s.picker == nil || s.picker.Have().Full() {
		return
	}
	room := int(leavesAhead/t.info.PieceLength) + 4
	for _, index := range s.picker.Next(room) {
		if t.strict || t.failed[index] {
			t.needLeaves(index)
		}
	}
}

// ask sends queued rows to peers that speak v2, in turn.
func (t *trees) ask(s *Swarm, now time.Time) {
	for _, p := range s.order {
		for len(t.queue) > 0 && p.about.V2 && !p.dropped && p.has != nil && len(p.hashesAsked) < hashesAsked {
			w := t.queue[0]
			if !t.canAnswer(p, w) {
				break
			}
			t.queue = t.queue[1:]
			w.from, w.since = p, now
			p.hashesAsked = append(p.hashesAsked, w)
			s.send(now, p, peerwire.Message{ID: peerwire.HashRequest, Rare: w.r})
		}
	}
}

// canAnswer guesses whether a peer has a row: it has some piece, and has not
// just refused it.
func (t *trees) canAnswer(p *peer, w *want) bool {
	return p.has.Count() > 0 && p.refusedHashes < maxRefusedHashes
}

// maxRefusedHashes is after how many refusals a peer is asked for no hashes.
const maxRefusedHashes = 16

func (s *Swarm) onHashes(now time.Time, p *peer, m *peerwire.Message) error {
	r := m.Rare.(peerwire.HashRange)
	if m.ID == peerwire.HashRequest {
		s.onHashRequest(now, p, r)
		return nil
	}
	t := &s.trees
	w := t.wants[r]
	if w == nil || w.from != p {
		return nil // late
	}
	if m.ID == peerwire.HashReject {
		p.refusedHashes++
		t.release(w)
		t.ask(s, now)
		return nil
	}
	t.release(w)
	t.queue = t.queue[:len(t.queue)-1]
	err := t.accept(s, w, m.Data)
	if err != nil {
		t.queue = append(t.queue, w)
		s.book.ban(p.about.Addr.Addr())
	}
	t.ahead(s)
	t.ask(s, now)
	s.refillAll(now)
	return err
}

// onHashRequest passes on what may be answered: rows of trees that exist.
func (s *Swarm) onHashRequest(now time.Time, p *peer, r peerwire.HashRange) {
	if s.picker == nil || !p.about.V2 || r.Length > hashesAtOnce || p.hashesServing >= maxHashesServing || s.hashJobs >= MaxHashJobs ||
		max(r.Base, r.Proofs) > 64 || r.Index > 1<<30 {
		s.send(now, p, peerwire.Message{ID: peerwire.HashReject, Rare: r})
		return
	}
	p.hashesServing++
	s.hashJobs++
	s.out.Hashes = append(s.out.Hashes, HashServing{p.id, r})
}

// maxHashesServing bounds the hash requests of one peer that are being
// answered, MaxHashJobs those of all; more are refused.
const (
	maxHashesServing = 64
	MaxHashJobs      = 1024
)

// HashesRead answers a HashServing: the row and its proof, or nil if there is
// no such row.
func (s *Swarm) HashesRead(now time.Time, id PeerID, r peerwire.HashRange, hashes []byte) {
	s.input()
	s.hashJobs--
	p := s.peers[id]
	if p == nil {
		return
	}
	p.hashesServing--
	if hashes == nil {
		s.send(now, p, peerwire.Message{ID: peerwire.HashReject, Rare: r})
		return
	}
	s.send(now, p, peerwire.Message{ID: peerwire.Hashes, Rare: r, Data: hashes})
}

// accept proves a row and keeps it.
func (t *trees) accept(s *Swarm, w *want, hashes []byte) error {
	if w.leaf {
		return t.acceptLeaves(w, hashes)
	}
	r := metainfo.Range{Base: int(w.r.Base), Index: int(w.r.Index), Length: int(w.r.Length), ProofLayers: int(w.r.Proofs)}
	if err := metainfo.VerifyProof(w.file.root, w.file.length, r, hashes); err != nil {
		return errors.Join(errHashAnswer, err)
	}
	delete(t.wants, w.r)
	partial := t.partial(w.file)
	at := r.Index * sha256.Size
	copy(partial.data[at:], hashes[:min(r.Length*sha256.Size, len(partial.data)-at)])
	if partial.rows--; partial.rows == 0 {
		delete(t.building, w.file.root)
		t.layers[w.file.root] = partial.data
		s.out.Layers = append(s.out.Layers, Layer{w.file.root, partial.data})
	}
	return nil
}

// partialLayer is a piece layer of which rows are missing.
type partialLayer struct {
	data []byte
	rows int // missing
}

func (t *trees) partial(f *treeFile) *partialLayer {
	if b := t.building[f.root]; b != nil {
		return b
	}
	n := min(hashesAtOnce, ceilPow2(f.pieces))
	b := &partialLayer{data: make([]byte, f.pieces*sha256.Size), rows: (f.pieces + n - 1) / n}
	if t.building == nil {
		t.building = map[[32]byte]*partialLayer{}
	}
	t.building[f.root] = b
	return b
}

// acceptLeaves proves the leaves of a piece, which may come in several rows of
// which only all together prove anything: all are asked again if they do not.
func (t *trees) acceptLeaves(w *want, hashes []byte) error {
	root, height, ok := t.root(w.piece)
	if !ok || len(hashes) != int(w.r.Length)*sha256.Size {
		return errHashAnswer
	}
	row := hashes
	if n := 1 << height; n > hashesAtOnce {
		var whole bool
		if row, whole = t.joinRows(w, hashes, n); !whole {
			return nil
		}
	}
	if metainfo.Root(row, [32]byte{}) != root {
		if len(row) > len(hashes) {
			t.needLeavesAgain(w)
		}
		return errHashAnswer
	}
	delete(t.wants, w.r)
	t.leaves[w.piece] = row
	return nil
}

// joinRows keeps one row of a piece with more leaves than fit in a message.
func (t *trees) joinRows(w *want, hashes []byte, n int) (all []byte, whole bool) {
	if t.rows == nil {
		t.rows = map[uint32]*partialLayer{}
	}
	part := t.rows[w.piece]
	if part == nil {
		part = &partialLayer{data: make([]byte, n*sha256.Size), rows: n / hashesAtOnce}
		t.rows[w.piece] = part
	}
	at := int(w.r.Index) % n * sha256.Size
	copy(part.data[at:], hashes)
	delete(t.wants, w.r)
	if part.rows--; part.rows > 0 {
		return nil, false
	}
	delete(t.rows, w.piece)
	return part.data, true
}

// needLeavesAgain asks for all rows of a piece but the one that is queued
// again anyway.
func (t *trees) needLeavesAgain(w *want) {
	t.wants[w.r] = w
	t.needLeaves(w.piece)
}

func ceilPow2(n int) int {
	p := 1
	for p < n {
		p <<= 1
	}
	return p
}

// treeHeight is the height of a file's tree above its leaves.
func treeHeight(length int64) int {
	blocks := (length + piece.BlockSize - 1) / piece.BlockSize
	return bits.Len64(uint64(blocks - 1))
}
