package swarm

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"torrente/peerwire"
	"torrente/piece"
)

// FuzzPeers lets peers say anything, in any order, to a Swarm that knows its
// torrent or only its hash. Nothing may panic; every block's buffer is given on
// exactly once; nobody is asked twice for a block or asked while choking us;
// and what a torrent's worth of messages leaves behind is bounded.
func FuzzPeers(f *testing.F) {
	c := makeContent(f, 32<<10, true, true, 300_000, 40_000)
	have := peerwire.Append(nil, peerwire.Of(peerwire.HaveAll))
	unchoke := peerwire.Append(nil, peerwire.Of(peerwire.Unchoke))
	f.Add([]byte{0}, bytes.Join([][]byte{have, unchoke}, nil))
	f.Add([]byte{1, 1, 2, 3}, bytes.Join([][]byte{
		peerwire.Append(nil, peerwire.ExtendedMessage(0, []byte("d1:md11:ut_metadatai1ee13:metadata_sizei900ee"))),
		peerwire.Append(nil, peerwire.ExtendedMessage(1, []byte("d8:msg_typei1e5:piecei0e10:total_sizei900eexxxx"))), have, unchoke,
	}, nil))
	f.Add([]byte{2, 9, 200, 4}, bytes.Join([][]byte{
		have, unchoke, peerwire.Append(nil, peerwire.Message{ID: peerwire.Piece, Data: make([]byte, 16384)}),
		peerwire.Append(nil, peerwire.BlockMessage(peerwire.Reject, 0, 0, 16384)), peerwire.Append(nil, peerwire.Of(peerwire.Choke)),
	}, nil))
	f.Fuzz(func(t *testing.T, steps, wire []byte) {
		fuzzPeers(t, c, steps, wire)
	})
}

func fuzzPeers(t *testing.T, c *content, steps, wire []byte) {
	z := &fuzzed{t: t, now: time.Unix(1e9, 0), asked: map[PeerID]map[piece.Block]bool{}, choking: map[PeerID]bool{}}
	magnet := len(steps) > 0 && steps[0]&1 == 1
	cfg := Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Leaves: len(steps) > 1 && steps[1]&1 == 1, Proves: func([]byte) bool { return false }}
	if magnet {
		cfg.Info = nil
	}
	z.s = New(cfg)
	if !magnet {
		half := piece.NewBitfield(z.s.layout.Pieces())
		half.Set(1)
		z.s.Opened(z.now, half, nil)
	}
	for id := PeerID(1); id <= 3; id++ {
		z.choking[id], z.asked[id] = true, map[piece.Block]bool{}
		z.s.Join(z.now, id, Peer{
			ID: [20]byte{byte(id)}, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(id)}), 1),
			Extended: true, Fast: id != 2, V2: id != 3,
		})
		z.take()
	}
	r := peerwire.NewReader(bytes.NewReader(wire), func() []byte { z.lent++; return make([]byte, piece.BlockSize) })
	for i := 0; ; i++ {
		step := byte(0)
		if len(steps) > 0 {
			step = steps[i%len(steps)]
		}
		if z.s.picker != nil {
			r.Limits.Pieces = z.s.layout.Pieces()
		}
		m, err := r.Next()
		if m.Data != nil && m.ID == peerwire.Piece && err != nil {
			z.lent--
		}
		if err != nil {
			break
		}
		z.says(PeerID(1+step%3), m)
		if step&0x40 != 0 {
			z.now = z.now.Add(time.Duration(step) * time.Second)
			z.s.Advance(z.now)
			z.take()
		}
	}
	if z.lent != 0 {
		t.Errorf("%d buffers are lost", z.lent)
	}
}

// fuzzed is a Swarm and what its peers have seen of it.
type fuzzed struct {
	t       *testing.T
	s       *Swarm
	now     time.Time
	lent    int
	asked   map[PeerID]map[piece.Block]bool
	choking map[PeerID]bool
}

func (z *fuzzed) says(id PeerID, m peerwire.Message) {
	switch m.ID {
	case peerwire.Choke:
		z.choking[id] = true
		if id == 2 { // without BEP 6 all requests are void
			clear(z.asked[id])
		}
	case peerwire.Unchoke:
		z.choking[id] = false
	case peerwire.Piece, peerwire.Reject:
		delete(z.asked[id], blockOf(&m))
	}
	z.s.Receive(z.now, id, m)
	z.take()
}

// take performs effects as a node would, with a disk that verifies nothing.
func (z *fuzzed) take() {
	e := z.s.Take()
	for _, m := range e.Send {
		b := blockOf(&m.Message)
		switch m.Message.ID {
		case peerwire.Request:
			if z.choking[m.Peer] {
				z.t.Errorf("%v is asked of peer %d, which chokes us", b, m.Peer)
			}
			if z.asked[m.Peer][b] {
				z.t.Errorf("%v is asked of peer %d again", b, m.Peer)
			}
			z.asked[m.Peer][b] = true
		case peerwire.Cancel:
			delete(z.asked[m.Peer], b)
		}
	}
	z.lent -= len(e.Free)
	verdicts := make([]Verdict, 0, len(e.Verify))
	for _, v := range e.Verify {
		z.lent--
		verdicts = append(verdicts, Verdict{Block: v.Block, OK: v.Leaf == nil})
	}
	sent := append([]Serving(nil), e.Serve...)
	rows := append([]HashServing(nil), e.Hashes...)
	gone := append([]Dropping(nil), e.Drop...)
	heavy := map[PeerID]int{}
	for i := range e.Send {
		if Heavy(&e.Send[i].Message) {
			heavy[e.Send[i].Peer]++
		}
	}
	if n := len(e.Send); n > 5000 {
		z.t.Errorf("one message makes us send %d", n)
	}
	for _, v := range verdicts {
		if !z.s.picker.Missing(int(v.Block.Piece)) {
			v.OK, v.Whole, v.Good = true, true, binary.BigEndian.Uint16([]byte{0, byte(v.Block.Begin >> 14)})&1 == 0
		}
		if v.OK && !v.Whole {
			continue
		}
		z.s.Verified(z.now, v)
		z.take()
	}
	for _, s := range sent {
		z.s.Sent(z.now, s.Peer, 1, int64(s.Block.Length))
		z.take()
	}
	for _, id := range slices.Sorted(maps.Keys(heavy)) {
		z.s.Written(z.now, id, heavy[id])
		z.take()
	}
	for _, h := range rows {
		z.s.HashesRead(z.now, h.Peer, h.Range, nil)
		z.take()
	}
	for _, d := range gone {
		clear(z.asked[d.Peer])
		z.s.Leave(z.now, d.Peer)
		z.take()
	}
}
