package piece

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"torrente/metainfo"
)

func TestBitfieldOnTheWire(t *testing.T) {
	f := NewBitfield(10)
	for _, i := range []int{0, 7, 9} {
		if !f.Set(i) || f.Set(i) {
			t.Errorf("piece %d: Set does not say what is new", i)
		}
	}
	if got := fmt.Sprintf("%x", f.Wire()); got != "8140" {
		t.Errorf("wire %s, want 8140", got)
	}
	back, err := ParseBitfield(f.Wire(), 10)
	if err != nil || back.Count() != 3 || !back.Has(9) || back.Has(8) || back.Has(10) || back.Has(-1) {
		t.Errorf("%v %v", back, err)
	}
	f.Clear(7)
	if f.Has(7) || f.Count() != 2 || back.Count() != 3 {
		t.Error("Clear clears something else")
	}
}

func TestBitfieldRefused(t *testing.T) {
	for _, c := range []struct {
		wire  []byte
		n     int
		spare bool
	}{{[]byte{0, 0x20}, 10, true}, {[]byte{0, 1}, 10, true}, {[]byte{0}, 10, false}, {[]byte{0, 0, 0}, 10, false}, {nil, 1, false}} {
		_, err := ParseBitfield(c.wire, c.n)
		if err == nil || errors.Is(err, ErrSpareBits) != c.spare {
			t.Errorf("%x of %d pieces: %v", c.wire, c.n, err)
		}
	}
	if f, err := ParseBitfield(nil, 0); err != nil || !f.Full() {
		t.Errorf("no pieces: %v", err)
	}
}

// infos are torrents of 32 KiB pieces: their files, and for each piece its
// span, the size of its data and the lengths of its blocks.
var infos = []struct {
	name   string
	info   metainfo.Info
	spans  []int64
	blocks [][]uint32
}{
	{
		"v1, files meet in a piece",
		metainfo.Info{HasV1: true, PieceLength: 32768, Length: 70000, Files: []metainfo.File{{Length: 40000}, {Offset: 40000, Length: 30000}}},
		[]int64{32768, 32768, 4464},
		[][]uint32{{16384, 16384}, {16384, 16384}, {4464}},
	},
	{
		"hybrid, padded",
		metainfo.Info{HasV1: true, HasV2: true, PieceLength: 32768, Length: 65546, Files: []metainfo.File{
			{Length: 40000}, {Offset: 40000, Length: 25536, Pad: true}, {Offset: 65536, Length: 10},
		}},
		[]int64{32768, 32768, 10},
		[][]uint32{{16384, 16384}, {7232}, {10}},
	},
	{
		"hybrid, padded at the end too",
		metainfo.Info{HasV1: true, HasV2: true, PieceLength: 32768, Length: 65536, Files: []metainfo.File{
			{Length: 40000}, {Offset: 40000, Length: 25536, Pad: true},
		}},
		[]int64{32768, 32768},
		[][]uint32{{16384, 16384}, {7232}},
	},
	{
		"v2, empty file between",
		metainfo.Info{HasV2: true, PieceLength: 32768, Length: 32778, Files: []metainfo.File{{Length: 1}, {Offset: 1}, {Offset: 32768, Length: 10}}},
		[]int64{32768, 10},
		[][]uint32{{1}, {10}},
	},
}

func TestLayout(t *testing.T) {
	for _, c := range infos {
		t.Run(c.name, func(t *testing.T) {
			l := NewLayout(&c.info)
			if l.Pieces() != len(c.spans) {
				t.Fatalf("%d pieces", l.Pieces())
			}
			var sum int64
			for i, span := range c.spans {
				if l.Span(i) != span || l.Start(i) != int64(i)*32768 {
					t.Errorf("piece %d: span %d from %d, want %d", i, l.Span(i), l.Start(i), span)
				}
				var got []uint32
				for k := range l.Blocks(i) {
					b := l.Block(i, k)
					if !l.IsUnit(b) || !l.Holds(b) {
						t.Errorf("%v is no unit of its own layout", b)
					}
					got = append(got, b.Length)
					sum += int64(b.Length)
				}
				if !slices.Equal(got, c.blocks[i]) {
					t.Errorf("piece %d: blocks of %v, want %v", i, got, c.blocks[i])
				}
			}
			if l.Bytes() != sum {
				t.Errorf("%d bytes, blocks have %d", l.Bytes(), sum)
			}
		})
	}
}

func TestBlocksThatAreNone(t *testing.T) {
	l := NewLayout(&infos[0].info)
	const most = 1<<32 - 1
	for _, c := range []struct {
		b     Block
		holds bool
	}{
		{Block{0, 0, 100}, true},
		{Block{0, 1, 16384}, true},
		{Block{0, 16385, 16384}, false},
		{Block{0, 0, 0}, false},
		{Block{2, 0, 4465}, false},
		{Block{3, 0, 1}, false},
		{Block{most, 0, 1}, false},
		{Block{0, most, 1}, false},
		{Block{0, most, most}, false},
		{Block{0, 32768, 1}, false},
		{Block{2, 4463, 1}, true},
	} {
		if l.Holds(c.b) != c.holds || l.IsUnit(c.b) {
			t.Errorf("%v: holds %v, unit %v", c.b, l.Holds(c.b), l.IsUnit(c.b))
		}
	}
	// libtorrent asks for the last piece of a v2-only torrent as if it were whole.
	if v2 := NewLayout(&infos[3].info); !v2.Holds(Block{1, 0, 16384}) || v2.Holds(Block{1, 16384, 16385}) {
		t.Error("padding of the last piece of a v2 torrent")
	}
}

// The order by availability is what sorting would give.
func TestAvailability(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "pieces")
		count, wanted := make([]uint32, n), make([]bool, n)
		var want []uint32
		for i := range n {
			want = append(want, uint32(i))
			wanted[i] = true
		}
		a := newAvailability(want, n, rand.New(rand.NewPCG(1, 1)))
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "piece")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				a.more(i)
				count[i]++
			case 1:
				if count[i] > 0 {
					a.fewer(i)
					count[i]--
				}
			case 2:
				a.drop(i)
				wanted[i] = false
			case 3:
				a.add(i)
				wanted[i] = true
			}
			checkAvailability(t, a, count, wanted)
		}
	})
}

func checkAvailability(t *rapid.T, a *availability, count []uint32, wanted []bool) {
	left := 0
	for i, w := range wanted {
		if w {
			left++
		}
		if (a.place[i] >= 0) != w || w && a.order[a.place[i]] != uint32(i) {
			t.Fatalf("piece %d is at %d of %v", i, a.place[i], a.order)
		}
	}
	if len(a.order) != left {
		t.Fatalf("%d in order, %d wanted", len(a.order), left)
	}
	for i := 1; i < len(a.order); i++ {
		if count[a.order[i-1]] > count[a.order[i]] {
			t.Fatalf("%v is not sorted by %v", a.order, count)
		}
	}
}

// Each block has a number of its own, whatever the piece length is; files of v2
// torrents that end in the middle of a piece leave numbers out.
func TestUnits(t *testing.T) {
	for name, info := range map[string]*metainfo.Info{
		"v1":                {HasV1: true, PieceLength: 65536, Length: 200_000, Pieces: make([]byte, 4*20)},
		"v1 of odd length":  {HasV1: true, PieceLength: 40_000, Length: 130_001, Pieces: make([]byte, 4*20)},
		"v1 below a block":  {HasV1: true, PieceLength: 1000, Length: 3500, Pieces: make([]byte, 4*20)},
		"v2 with two files": {HasV2: true, PieceLength: 65536, Length: 200_000, Files: []metainfo.File{{Length: 70_000}, {Length: 68_928, Offset: 131_072}}},
	} {
		l := NewLayout(info)
		seen := map[uint32]Block{}
		for i := range l.Pieces() {
			for k := range l.Blocks(i) {
				b := l.Block(i, k)
				unit := l.Unit(b)
				if other, twice := seen[unit]; twice {
					t.Errorf("%s: %v and %v are both unit %d", name, other, b, unit)
				}
				seen[unit] = b
			}
		}
		for unit := range uint32(100) {
			b, ok := l.UnitBlock(unit)
			if want, is := seen[unit]; ok != is || b != want {
				t.Errorf("%s: unit %d is %v %v, want %v %v", name, unit, b, ok, want, is)
			}
		}
		if n := info.Units(); uint64(len(seen)) != n {
			t.Errorf("%s: %d blocks, %d units", name, len(seen), n)
		}
	}
}

// Where a piece is asked of one peer alone, others begin pieces of their own
// until that one is abandoned.
func TestAlone(t *testing.T) {
	p := NewPicker(smallLayout(2), NewBitfield(2), 1)
	p.Alone, p.Once = true, true
	all := FullBitfield(2)
	mine := p.Pick(nil, 1, all, 2, never)
	theirs := p.Pick(nil, 2, all, 8, never)
	if len(theirs) != 4 || theirs[0].Piece == mine[0].Piece {
		t.Fatalf("one has %v, the other %v", mine, theirs)
	}
	left := p.layout.Block(int(mine[0].Piece), 3)
	if asked, later := p.Ask(left, 2); asked || later {
		t.Error("a block of another's piece is asked for")
	}
	if asked, _ := p.Ask(left, 1); !asked {
		t.Error("a block of its own piece is not asked for")
	}
	p.Abandon(1)
	if got := p.Pick(nil, 2, all, 8, never); len(got) != 1 || got[0].Piece != mine[0].Piece {
		t.Errorf("after the first has left: %v", got)
	}
}

// What another left is taken up behind what a peer has begun itself: else it may
// have begun two pieces, and be paid for neither.
func TestAloneEndsItsOwn(t *testing.T) {
	p := NewPicker(smallLayout(2), NewBitfield(2), 1)
	p.Alone, p.Once = true, true
	all := FullBitfield(2)
	theirs := p.Pick(nil, 1, all, 2, never)
	mine := p.Pick(nil, 2, all, 2, never)
	p.Abandon(1)
	got := p.Pick(nil, 2, all, 4, never)
	for i, want := range []uint32{mine[0].Piece, mine[0].Piece, theirs[0].Piece, theirs[0].Piece} {
		if len(got) != 4 || got[i].Piece != want {
			t.Fatalf("with %v of its own begun: %v", mine, got)
		}
	}
}

// Ask counts a block out of turn, once, and only if its piece was begun.
func TestAsk(t *testing.T) {
	p := NewPicker(smallLayout(2), NewBitfield(2), 1)
	b := p.layout.Block(1, 2)
	if asked, later := p.Ask(b, 1); asked || !later {
		t.Errorf("of a piece that was not begun: %v %v", asked, later)
	}
	ready := false
	p.Ready = func(int) bool { return ready }
	p.Restored(1, []int{0})
	if asked, later := p.Ask(b, 1); asked || !later {
		t.Errorf("of a piece that is not ready: %v %v", asked, later)
	}
	ready = true
	if asked, _ := p.Ask(b, 1); !asked {
		t.Error("not asked for")
	}
	for _, k := range []int{0, 2} { // here, and asked for
		if asked, later := p.Ask(p.layout.Block(1, k), 1); asked || later {
			t.Errorf("block %d: %v %v", k, asked, later)
		}
	}
	if got := p.Pick(nil, 1, FullBitfield(2), 2, never); len(got) != 2 || got[0].Begin/BlockSize != 1 || got[1].Begin/BlockSize != 3 {
		t.Errorf("the rest of the piece: %v", got)
	}
}

func never(Block) bool { return false }

func smallLayout(pieces int) *Layout {
	length := int64(pieces) * 65536
	return NewLayout(&metainfo.Info{HasV1: true, PieceLength: 65536, Length: length, Files: []metainfo.File{{Length: length}}})
}

func TestRarestFirst(t *testing.T) {
	l := smallLayout(3)
	p := NewPicker(l, NewBitfield(3), 1)
	for piece, peers := range []int{3, 1, 2} {
		for range peers {
			p.Announced(piece)
		}
	}
	var order []uint32
	for _, b := range p.Pick(nil, 1, FullBitfield(3), 12, never) {
		if len(order) == 0 || order[len(order)-1] != b.Piece {
			order = append(order, b.Piece)
		}
	}
	if !slices.Equal(order, []uint32{1, 2, 0}) {
		t.Errorf("order %v", order)
	}
}

// A piece that was begun is finished before another is begun.
func TestBegunFirst(t *testing.T) {
	p := NewPicker(smallLayout(10), NewBitfield(10), 1)
	all := FullBitfield(10)
	first := p.Pick(nil, 1, all, 1, never)[0]
	for _, b := range p.Pick(nil, 1, all, 3, never) {
		if b.Piece != first.Piece {
			t.Errorf("%v is asked for before piece %d is whole", b, first.Piece)
		}
	}
}

func TestEndgame(t *testing.T) {
	p := NewPicker(smallLayout(1), NewBitfield(1), 1)
	all := FullBitfield(1)
	mine := p.Pick(nil, 1, all, 100, never)
	if len(mine) != 4 {
		t.Fatalf("%d blocks", len(mine))
	}
	if again := p.Pick(nil, 1, all, 100, func(b Block) bool { return slices.Contains(mine, b) }); len(again) != 0 {
		t.Errorf("one peer is asked twice: %v", again)
	}
	second := p.Pick(nil, 1, all, 2, never)
	if len(second) != 2 {
		t.Fatalf("a second peer is asked for %v", second)
	}
	if wanted, others := p.Received(second[0]); !wanted || others != 1 {
		t.Errorf("wanted %v, asked of %d others", wanted, others)
	}
	if wanted, _ := p.Received(second[0]); wanted {
		t.Error("wanted twice")
	}
}

// Whatever happens, no block is asked of more peers than the endgame allows,
// none that is here is asked for, and when all requests are answered the
// picker has everything.
func TestPickerFinishes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "pieces")
		l := smallLayout(n)
		p := NewPicker(l, NewBitfield(n), rapid.Uint64().Draw(t, "seed"))
		peers := make([][]Block, rapid.IntRange(1, 4).Draw(t, "peers"))
		all := FullBitfield(n)
		here := map[Block]bool{}
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			who := rapid.IntRange(0, len(peers)-1).Draw(t, "peer")
			stepPicker(t, p, l, peers, who, all, here)
		}
		for who := range peers { // now all behave
			for _, b := range peers[who] {
				p.GiveUp(b)
			}
			peers[who] = nil
		}
		for got := p.Pick(nil, 1, all, 1, never); len(got) > 0; got = p.Pick(nil, 1, all, 1, never) {
			receive(p, got[0], here)
		}
		for i := range n {
			if p.Missing(i) {
				t.Fatalf("piece %d is missing and nothing is left to ask", i)
			}
		}
	})
}

func stepPicker(t *rapid.T, p *Picker, l *Layout, peers [][]Block, who int, all *Bitfield, here map[Block]bool) {
	asked := peers[who]
	switch rapid.SampledFrom([]string{"ask", "answer", "give up", "spoil", "decide"}).Draw(t, "step") {
	case "ask":
		got := p.Pick(nil, 1, all, rapid.IntRange(1, 8).Draw(t, "n"), func(b Block) bool { return slices.Contains(asked, b) })
		for _, b := range got {
			if here[b] || slices.Contains(asked, b) {
				t.Fatalf("%v is asked for again", b)
			}
			asked = append(asked, b)
		}
		peers[who] = asked
	case "answer":
		if len(asked) > 0 {
			b := asked[0]
			receive(p, b, here)
			for i := range peers { // the others are told to cancel
				peers[i] = slices.DeleteFunc(peers[i], func(x Block) bool { return x == b })
			}
		}
	case "give up":
		if len(asked) > 0 {
			p.GiveUp(asked[0])
			peers[who] = asked[1:]
		}
	case "spoil":
		b := l.Block(rapid.IntRange(0, l.Pieces()-1).Draw(t, "piece"), rapid.IntRange(0, 3).Draw(t, "block"))
		if here[b] && !p.Have().Has(int(b.Piece)) {
			p.Spoiled(b)
			delete(here, b)
		}
	case "decide":
		i := rapid.IntRange(0, l.Pieces()-1).Draw(t, "piece")
		switch {
		case p.Missing(i) || p.Have().Has(i):
		case rapid.Bool().Draw(t, "good"):
			p.Completed(i)
		default:
			p.Failed(i)
			for k := range 4 {
				delete(here, l.Block(i, k))
			}
		}
	}
	for b := range here {
		if n := slices.Index(p.Next(100, FullBitfield(l.Pieces())), b.Piece); n >= 0 {
			t.Fatalf("piece %d is begun and not begun", b.Piece)
		}
	}
}

func receive(p *Picker, b Block, here map[Block]bool) {
	if wanted, _ := p.Received(b); wanted {
		here[b] = true
	}
}

func TestRestored(t *testing.T) {
	p := NewPicker(smallLayout(2), NewBitfield(2), 1)
	p.Restored(1, []int{0, 2, 2})
	got := p.Pick(nil, 1, FullBitfield(2), 2, never)
	if want := []Block{{1, 16384, 16384}, {1, 49152, 16384}}; !slices.Equal(got, want) {
		t.Errorf("%v, want what is missing of the restored piece: %v", got, want)
	}
}

func TestReady(t *testing.T) {
	p := NewPicker(smallLayout(3), NewBitfield(3), 1)
	p.Ready = func(i int) bool { return i == 2 }
	for _, b := range p.Pick(nil, 1, FullBitfield(3), 100, never) {
		if b.Piece != 2 {
			t.Errorf("%v is asked for, though its hashes are unknown", b)
		}
	}
}

// Prepared pieces are begun first, in their order; while nothing else is ready
// the others are not looked at again.
func TestPrepared(t *testing.T) {
	p := NewPicker(smallLayout(6), NewBitfield(6), 1)
	ready, asked := map[int]bool{}, 0
	p.Ready = func(i int) bool { asked++; return ready[i] }
	all := FullBitfield(6)
	if got := p.Pick(nil, 1, all, 4, never); len(got) != 0 {
		t.Fatalf("%v is asked for", got)
	}
	before := asked
	if p.Pick(nil, 1, all, 4, never); asked != before {
		t.Errorf("%d pieces are looked at again", asked-before)
	}
	for _, i := range []int{4, 2} {
		ready[i] = true
		p.Prepared(i)
	}
	got := p.Pick(nil, 1, all, 8, never)
	if len(got) != 8 || got[0].Piece != 4 || got[4].Piece != 2 {
		t.Errorf("%v, want pieces 4 and 2", got)
	}
	ready[5] = true
	if p.Changed(); len(p.Pick(nil, 1, all, 4, never)) != 4 {
		t.Error("a piece that became ready by itself is not found")
	}
}

func BenchmarkPick(b *testing.B) {
	const pieces = 1 << 16
	l := smallLayout(pieces)
	all := FullBitfield(pieces)
	p := NewPicker(l, NewBitfield(pieces), 1)
	var dst []Block
	b.ReportAllocs()
	for b.Loop() {
		if dst = p.Pick(dst[:0], 1, all, 1, never); len(dst) == 0 {
			b.StopTimer()
			p = NewPicker(l, NewBitfield(pieces), 1)
			b.StartTimer()
			continue
		}
		p.Received(dst[0])
		if !p.Missing(int(dst[0].Piece)) {
			p.Completed(int(dst[0].Piece))
		}
	}
}

// A piece that an earlier run began is gone on with when it is ready, and is
// among those that are to be made ready.
func TestRestoredPiecesWaitUntilReady(t *testing.T) {
	l := NewLayout(&metainfo.Info{PieceLength: 4 * BlockSize, HasV1: true, Length: 8 * BlockSize, Files: []metainfo.File{{Length: 8 * BlockSize}}})
	p := NewPicker(l, NewBitfield(2), 1)
	ready := false
	p.Ready = func(int) bool { return ready }
	p.Restored(1, []int{0, 2})
	all := FullBitfield(2)
	none := func(Block) bool { return false }
	if got := p.Pick(nil, 1, all, 8, none); len(got) != 0 {
		t.Errorf("before it is ready: %v", got)
	}
	if next := p.Next(1, all); len(next) != 1 || next[0] != 1 {
		t.Errorf("next %v, want the piece that was begun", next)
	}
	ready = true
	p.Changed()
	got := p.Pick(nil, 1, all, 2, none)
	if len(got) != 2 || got[0] != l.Block(1, 1) || got[1] != l.Block(1, 3) {
		t.Errorf("picked %v, want blocks 1 and 3 of piece 1", got)
	}
}
