package swarm

import (
	"crypto/sha256"
	"errors"
	"maps"
	"math/bits"
	"slices"
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
	byRoot map[[32]byte]int // index in files; of equal ones the first
	layers map[[32]byte][]byte
	leaves byPiece[[]byte]      // proven
	strict bool                 // no block is asked for whose leaf is unknown
	failed map[uint32]time.Time // when pieces failed that need leaves since

	wants map[peerwire.HashRange]*want
	queue []*want // not asked of anybody, first come first
	// building are piece layers, by root, and rows the leaves of pieces, of
	// which parts are missing.
	building map[[32]byte]*partialLayer
	rows     map[uint32]*partialRows
	// reach is what V2 peers have together, as of the last second.
	reach *piece.Bitfield
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
	// refused are those that refused it, and until when they are not asked.
	refused map[PeerID]time.Time
}

func newTrees(info *metainfo.Info, layers map[[32]byte][]byte, strict bool) trees {
	t := trees{
		info: info, strict: strict && info.HasV2, layers: map[[32]byte][]byte{}, leaves: newByPiece[[]byte](),
		failed: map[uint32]time.Time{}, byRoot: map[[32]byte]int{}, rows: map[uint32]*partialRows{}, wants: map[peerwire.HashRange]*want{},
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
		if _, twice := t.byRoot[f.Root]; !twice {
			t.byRoot[f.Root] = len(t.files)
		}
		t.files = append(t.files, treeFile{root: f.Root, length: f.Length, first: int(f.Offset / info.PieceLength), pieces: n})
		if layer := layers[f.Root]; layer != nil {
			t.layers[f.Root] = layer
		}
	}
	t.wantLayers()
	return t
}

// KnowLayers tells piece layers that were kept from an earlier run, proven, by
// pieces root. Opened follows.
func (s *Swarm) KnowLayers(layers map[[32]byte][]byte) {
	s.input()
	t := &s.trees
	for i := range t.files {
		if layer := layers[t.files[i].root]; layer != nil {
			t.layers[t.files[i].root] = layer
		}
	}
	t.queue = slices.DeleteFunc(t.queue, func(w *want) bool {
		known := !w.leaf && t.layers[w.file.root] != nil
		if known {
			delete(t.wants, w.r)
		}
		return known
	})
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
	if len(t.files) == 0 || t.leaves.has(uint32(index)) {
		return true
	}
	_, height, known := t.root(uint32(index))
	switch {
	case !known:
		return t.info.HasV1 && !t.strict
	case height == 0 || !t.needsLeaves(uint32(index)):
		return true
	}
	return false
}

// needsLeaves reports whether a piece is not asked for without its leaves.
func (t *trees) needsLeaves(index uint32) bool {
	if t.strict || len(t.failed) == 0 {
		return t.strict
	}
	_, failed := t.failed[index]
	return failed
}

// leaf is the proven hash of a block, or nil.
func (t *trees) leaf(b piece.Block) *[32]byte {
	if row, known := t.leaves.get(b.Piece); known {
		return (*[32]byte)(row[b.Begin/piece.BlockSize*sha256.Size:])
	}
	return nil
}

// needLeaves asks for the leaves of a piece, once its own hash is known: in
// rows that each prove themselves. What lies behind the end of the file is zero
// (BEP 52), and is not asked for.
func (t *trees) needLeaves(index uint32) {
	if t.leaves.has(index) {
		return
	}
	_, height, known := t.root(index)
	if !known || height == 0 {
		return
	}
	f := t.fileOf(index)
	n, proofs := uint32(1)<<height, uint32(0)
	if n > hashesAtOnce {
		proofs = uint32(height) - 1
	}
	at := (index - uint32(f.first)) << t.height
	end := min(int64(at+n), (f.length+piece.BlockSize-1)/piece.BlockSize)
	for row := at; int64(row) < end; row += hashesAtOnce {
		r := peerwire.HashRange{Root: f.root, Index: row, Length: min(n, hashesAtOnce), Proofs: proofs}
		if part := t.rows[index]; part == nil || !part.have[row] {
			t.add(&want{r: r, file: f, piece: index, leaf: true})
		}
	}
}

// verified forgets the leaves of a piece that is complete.
func (t *trees) verified(index uint32) {
	t.leaves.delete(index)
	delete(t.rows, index)
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
	if len(t.files) == 0 || s.picker == nil {
		return
	}
	for _, p := range s.order {
		for i := len(p.hashesAsked) - 1; i >= 0; i-- {
			if w := p.hashesAsked[i]; now.Sub(w.since) > hashPatience {
				t.refusedBy(now, p, w)
			}
		}
	}
	if t.strict || len(t.failed) > 0 {
		t.reach = s.reach()
	}
	t.relent(s, now)
	t.ahead(s)
	t.ask(s, now)
}

// relent lets failed pieces be asked for without their leaves if nobody who is
// connected can tell these, or nobody does: a good copy tells as well.
func (t *trees) relent(s *Swarm, now time.Time) {
	for _, index := range slices.Sorted(maps.Keys(t.failed)) {
		if now.Sub(t.failed[index]) > leavesPatience || !t.leaves.has(index) && !s.tellsLeaves(now, index) {
			delete(t.failed, index)
		}
	}
}

// tellsLeaves reports whether a peer may tell the leaves of a piece.
func (s *Swarm) tellsLeaves(now time.Time, index uint32) bool {
	return slices.ContainsFunc(s.order, func(p *peer) bool {
		return p.answersHashes(now) && p.has.Has(int(index))
	})
}

// reach is what the peers that speak v2 have together.
func (s *Swarm) reach() *piece.Bitfield {
	all := piece.NewBitfield(s.layout.Pieces())
	for _, p := range s.order {
		if p.about.V2 && !p.dropped && p.has != nil {
			all.Add(p.has)
		}
	}
	return all
}

// ahead wants the leaves of the pieces that will be begun next: many at a time,
// before the nearer half of them is used up.
func (t *trees) ahead(s *Swarm) {
	if !t.strict && len(t.failed) == 0 || s.picker == nil || t.reach == nil || s.picker.Have().Full() {
		return
	}
	room := int(leavesAhead/t.info.PieceLength) + 4
	next := s.picker.Next(room, t.reach)
	lacking, soon := 0, false
	for i, index := range next {
		if t.needsLeaves(index) && !t.leaves.has(index) {
			lacking++
			soon = soon || i < (len(next)+1)/2
		}
	}
	if !soon && lacking < hashesAsked {
		return
	}
	for _, index := range next {
		if t.needsLeaves(index) {
			t.needLeaves(index)
		}
	}
}

// ask sends queued rows to peers that can answer them, in turn.
func (t *trees) ask(s *Swarm, now time.Time) {
	for _, p := range s.order {
		if !p.answersHashes(now) {
			continue
		}
		for i := 0; i < len(t.queue) && len(p.hashesAsked) < hashesAsked; {
			w := t.queue[i]
			if !w.fits(now, p) {
				i++
				continue
			}
			t.queue = slices.Delete(t.queue, i, i+1)
			w.from, w.since = p, now
			p.hashesAsked = append(p.hashesAsked, w)
			s.send(now, p, peerwire.Message{ID: peerwire.HashRequest, Rare: w.r})
		}
	}
}

// answersHashes reports whether hashes may be asked of a peer: it has something
// and has not just refused many requests.
func (p *peer) answersHashes(now time.Time) bool {
	return p.about.V2 && !p.dropped && p.has != nil && p.has.Count() > 0 && !now.Before(p.askHashes)
}

// fits reports whether a peer may have a row: leaves are told by those that
// have their piece. Who refused it is asked again later.
func (w *want) fits(now time.Time, p *peer) bool {
	return (!w.leaf || p.has.Has(int(w.piece))) && !now.Before(w.refused[p.id])
}

const (
	// maxRefusedHashes is after how many refusals in a row a peer is asked for
	// no hashes for a while.
	maxRefusedHashes = 16
	// hashRest is that while, and how long a peer is not asked again for a row
	// that it refused.
	hashRest = 30 * time.Second
	// leavesPatience is how long a failed piece waits for its leaves.
	leavesPatience = 30 * time.Second
)

// refusedBy notes that a peer did not give a row, and queues it again.
func (t *trees) refusedBy(now time.Time, p *peer, w *want) {
	if w.refused == nil || len(w.refused) >= maxKnown {
		w.refused = map[PeerID]time.Time{}
	}
	w.refused[p.id] = now.Add(hashRest)
	if p.refusedHashes++; p.refusedHashes >= maxRefusedHashes {
		p.refusedHashes, p.askHashes = 0, now.Add(hashRest)
	}
	t.release(w)
}

func (s *Swarm) onHashes(now time.Time, p *peer, m *peerwire.Message) error {
	r := m.Rare.(peerwire.HashRange)
	if m.ID == peerwire.HashRequest {
		return s.onHashRequest(now, p, r)
	}
	t := &s.trees
	w := t.wants[r]
	if w == nil || w.from != p {
		return nil // late
	}
	if m.ID == peerwire.HashReject {
		t.refusedBy(now, p, w)
		t.ask(s, now)
		return nil
	}
	t.release(w)
	t.queue = t.queue[:len(t.queue)-1]
	p.refusedHashes = 0
	err := t.accept(s, w, m.Data)
	switch {
	case s.picker == nil:
	case w.leaf && t.leaves.has(w.piece):
		s.picker.Prepared(int(w.piece))
	default:
		s.picker.Changed()
	}
	if err != nil {
		t.queue = append(t.queue, w)
		s.book.ban(p.about.Addr.Addr())
	}
	t.ahead(s)
	t.ask(s, now)
	s.refillAll(now)
	return err
}

// canServe reports whether a row is one that we can read: of a layer that we
// know, or the leaves of a piece that we have.
func (t *trees) canServe(have *piece.Bitfield, r peerwire.HashRange) bool {
	i, known := t.byRoot[r.Root]
	if !known || r.Length == 0 || r.Length > hashesAtOnce || max(r.Base, r.Proofs) > 64 {
		return false
	}
	f := &t.files[i]
	switch k := int64(r.Index) >> t.height; {
	case f.pieces == 1:
		return r.Base == 0 && have.Has(f.first)
	case int(r.Base) == t.height && int64(r.Index) < int64(f.pieces):
		return t.layers[f.root] != nil
	case r.Base == 0 && k < int64(f.pieces):
		return have.Has(f.first + int(k))
	}
	return false
}

// accept proves a row and keeps it.
func (t *trees) accept(s *Swarm, w *want, hashes []byte) error {
	if w.leaf && s.picker.Have().Has(int(w.piece)) { // it came without them meanwhile
		delete(t.wants, w.r)
		return nil
	}
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

// acceptLeaves proves a row of a piece's leaves against the piece's own hash.
func (t *trees) acceptLeaves(w *want, hashes []byte) error {
	root, height, ok := t.root(w.piece)
	if !ok {
		return errHashAnswer
	}
	length := t.info.PieceLength // the tree of a piece is that of a file as long
	if w.file.pieces == 1 {
		length = w.file.length
	}
	n := 1 << height
	r := metainfo.Range{Index: int(w.r.Index) % n, Length: int(w.r.Length), ProofLayers: int(w.r.Proofs)}
	if err := metainfo.VerifyProof(root, length, r, hashes); err != nil {
		return errors.Join(errHashAnswer, err)
	}
	delete(t.wants, w.r)
	t.joinRows(w, hashes[:r.Length*sha256.Size], r.Index*sha256.Size, n*sha256.Size)
	return nil
}

// joinRows puts a proven row in its place. The leaves of a piece are known when
// all its rows are.
func (t *trees) joinRows(w *want, row []byte, at, size int) {
	part := t.rows[w.piece]
	if part == nil {
		blocks := int((w.file.length+piece.BlockSize-1)/piece.BlockSize) - (int(w.r.Index) - at/sha256.Size)
		blocks = min(blocks, size/sha256.Size)
		part = &partialRows{data: make([]byte, size), missing: (blocks + hashesAtOnce - 1) / hashesAtOnce, have: map[uint32]bool{}}
		t.rows[w.piece] = part
	}
	if part.have[w.r.Index] {
		return
	}
	copy(part.data[at:], row)
	part.have[w.r.Index] = true
	if part.missing--; part.missing == 0 {
		delete(t.rows, w.piece)
		t.leaves.put(w.piece, part.data)
	}
}

// partialRows are the leaves of a piece of which rows are missing.
type partialRows struct {
	data    []byte
	missing int             // rows
	have    map[uint32]bool // rows, by their first leaf
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
