package swarm

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// FuzzSoldPeers lets members say anything, in any order, to a Swarm that has half
// of what is sold: they buy of it and sell to it. Its ledger, wallet and clock
// answer what and when they like, its Books as they do. After every step: nobody
// is served more than it paid for and was lent (P1), nobody is paid for more than
// it delivered and what may be paid before (P2), and no buffer is lost.
func FuzzSoldPeers(f *testing.F) {
	contents := []*content{soldContent(f, 16<<10, 500_000, 40_000), soldV1(f, 32<<10, 500_000, 40_000)}
	have := peerwire.Append(nil, peerwire.Of(peerwire.HaveAll))
	// A sale: interest, a commitment, its cap, then requests and links, a broken
	// connection, the same commitment again, and its close.
	sale := []byte{1, 0, 2, 0, 4, 120, 6, 0, 5, 3, 6, 3, 5, 6, 9, 9, 5, 9, 6, 6, 6, 9, 9, 9, 5, 12, 1, 9, 1, 0, 13, 0, 8, 0, 4, 120, 6, 9, 15, 3, 15, 3, 8, 0}
	// A purchase: terms, a deal, its registration, what was asked for, a resume.
	buys := []byte{0, 0, 0, 0, 7, 12, 8, 0, 10, 3, 11, 0, 11, 0, 9, 9, 11, 0, 9, 9, 11, 21, 12, 3, 11, 0, 9, 90, 9, 90, 14, 90, 8, 0, 11, 0, 1, 9, 0, 0, 7, 12, 8, 0, 13, 15, 8, 0, 11, 0}
	for kind := range byte(4) {
		f.Add(kind, sale, slices.Concat(have, have))
		f.Add(kind, buys, slices.Concat(have, peerwire.Append(nil, peerwire.Of(peerwire.Unchoke)), have))
		f.Add(kind, slices.Concat(sale, buys), slices.Concat(have, have))
	}
	f.Fuzz(func(t *testing.T, kind byte, steps, wire []byte) {
		z := newFuzzedSale(t, contents[kind%2], kind)
		z.wire = peerwire.NewReader(bytes.NewReader(wire), func() []byte { z.lent++; return make([]byte, piece.BlockSize) })
		z.wire.Limits.Pieces = z.s.layout.Pieces()
		for i := 0; i+1 < len(steps) && i < 400; i += 2 {
			z.step(steps[i], steps[i+1])
			z.check()
		}
		for _, m := range z.members {
			z.leave(m)
		}
		z.check()
		if z.lent != 0 {
			t.Errorf("%d buffers are lost", z.lent)
		}
	})
}

const (
	// fuzzLinks is how long the chains are.
	fuzzLinks = 48
	// fuzzMembers is how many accounts there are.
	fuzzMembers = 3
)

// fuzzedSale is a Swarm that sells and buys, and what was dealt with it.
type fuzzedSale struct {
	t       *testing.T
	c       *content
	s       *Swarm
	now     time.Time
	wire    *peerwire.Reader
	lent    int
	members []*fuzzedMember
	answers []func()                // that the Swarm waits for
	drafts  map[uint32]map[int]bool // blocks of pieces that are not whole: whether they are right
	failed  map[uint32][]int        // the false blocks of pieces that failed
	owed    map[payment.CommitmentID]uint64
	links   map[payment.CommitmentID]uint64 // released
}

// fuzzedMember is an account with a connection.
type fuzzedMember struct {
	account payment.Account
	id      PeerID // of its last connection
	on      bool   // it has not ended
	book    *payment.Book
	// What it buys of us.
	chain  *payment.Chain
	commit payment.Commitment
	cap    uint32
	best   payment.Claim
	paid   uint64 // links counted
	lent   uint64 // the most that the Book had lent
	free   uint64 // units served again without a charge
	served uint64
	// What it sells to us.
	deal  *Deal
	shown uint64 // links of earlier connections
	asked []piece.Block
}

func newFuzzedSale(t *testing.T, c *content, kind byte) *fuzzedSale {
	me := payment.Account{99}
	z := &fuzzedSale{t: t, c: c, now: time.Unix(1e9, 0), drafts: map[uint32]map[int]bool{}, failed: map[uint32][]int{}, owed: map[payment.CommitmentID]uint64{}, links: map[payment.CommitmentID]uint64{}}
	z.s = New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: me, Floor: uint64(kind >> 1 & 1), Proves: func([]byte) bool { return false }})
	half := piece.NewBitfield(z.s.layout.Pieces())
	for i := range z.s.layout.Pieces() / 2 {
		half.Set(i)
	}
	z.s.Opened(z.now, half, nil)
	z.s.Ledger(z.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
	z.take()
	for i := range byte(fuzzMembers) {
		m := &fuzzedMember{account: payment.Account{i + 1}}
		m.book = payment.NewBook(payment.BookConfig{Me: me, Them: m.account, Price: testPrice, Floor: z.s.cfg.Floor})
		m.chain, m.commit = z.commitment(m.account, me, i+1)
		m.best = m.commit.Start()
		z.members = append(z.members, m)
		z.join(m)
	}
	return z
}

// of finds the member of a connection.
func (z *fuzzedSale) of(id PeerID) *fuzzedMember { return z.members[int(id-1)%fuzzMembers] }

// join begins the next connection of a member.
func (z *fuzzedSale) join(m *fuzzedMember) {
	nr := m.account[0]
	if m.id += fuzzMembers; m.id == fuzzMembers {
		m.id = PeerID(nr)
	}
	m.on, m.asked = true, nil
	z.s.Join(z.now, m.id, Peer{
		ID: [20]byte{nr}, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, nr}), 1),
		Extended: true, Fast: nr != 2, V2: nr != 3, Pay: true,
	})
	z.take()
	z.s.Authenticated(z.now, m.id, m.account)
	z.take()
}

func (z *fuzzedSale) leave(m *fuzzedMember) {
	m.on = false
	z.s.Leave(z.now, m.id)
	z.take()
}

func (z *fuzzedSale) torrent() payment.TorrentID { return payment.TorrentID(z.c.torrent.Info.ID()) }

func (z *fuzzedSale) commitment(payer, receiver payment.Account, nr byte) (*payment.Chain, payment.Commitment) {
	chain, err := payment.NewChain(payment.Seed{nr}, payment.ChainID{nr}, fuzzLinks)
	if err != nil {
		z.t.Fatal(err)
	}
	return chain, payment.Commitment{
		Torrent: z.torrent(), Payer: payer, Receiver: receiver, Root: chain.Root(), Chain: payment.ChainID{nr},
		Links: fuzzLinks, Price: testPrice, Epoch: 1, Expiry: uint64(z.now.Add(24 * time.Hour).Unix()),
	}
}

// step does one thing: arg chooses the member and how.
func (z *fuzzedSale) step(what, arg byte) {
	m, n := z.members[arg%fuzzMembers], uint32(arg/fuzzMembers)
	id := m.id
	switch what % 16 {
	case 0:
		z.anything(id)
	case 1:
		if n%4 == 3 || !m.on {
			z.leave(m)
			z.join(m)
		}
		z.says(m.id, peerwire.Of(peerwire.Interested))
		z.says(m.id, peerwire.Of(peerwire.Unchoke))
	case 2:
		z.says(id, peerwire.Message{ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: 1, Commitment: m.commit}})
	case 3, 4:
		m.cap = max(m.cap, min(n, fuzzLinks))
		z.ledger(payment.EventOpened, m.commit.ID(), m.cap)
	case 5:
		z.pays(id, m, n)
	case 6:
		b := z.s.layout.Block(int(n)%z.s.layout.Pieces(), 0)
		z.says(id, peerwire.BlockMessage(peerwire.Request, b.Piece, b.Begin, b.Length))
	case 7:
		z.says(id, peerwire.Message{ID: peerwire.PayTermsID, Rare: peerwire.PayTerms{Price: testPrice, Epoch: 1, Unit: piece.BlockSize, Window: n}})
	case 8:
		z.answer(n)
	case 9:
		z.now = z.now.Add(time.Duration(arg) * 37 * time.Millisecond)
		z.s.Advance(z.now)
	case 10:
		if m.deal != nil {
			z.says(id, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: m.deal.Commit.Alias, State: peerwire.PayState(n % 6)}})
			z.says(id, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: m.deal.Commit.Alias, State: peerwire.PayRegistered}})
		}
	case 11:
		z.delivers(id, m, n%8 == 7)
	case 12:
		z.acks(id, m, n)
	case 13:
		z.resumes(id, m, n)
	case 14:
		if m.deal != nil {
			z.ledger(payment.EventCap, m.deal.Commit.Commitment.ID(), min(n, fuzzLinks))
		}
	case 15:
		if n%2 == 0 {
			z.ledger(payment.EventReleased, m.commit.ID(), 0)
		}
		z.says(id, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: 1 + peerwire.Alias(n%4)/2, State: peerwire.PayClosing}})
	}
	z.take()
}

func (z *fuzzedSale) says(id PeerID, m peerwire.Message) {
	if !z.of(id).on {
		if m.ID == peerwire.Piece {
			z.lent--
		}
		return
	}
	z.s.Receive(z.now, id, m)
	z.take()
}

func (z *fuzzedSale) ledger(kind payment.EventKind, id payment.CommitmentID, cap uint32) {
	z.s.Ledger(z.now, payment.LedgerEvent{Kind: kind, Commitment: id, Cap: cap})
}

// anything says the next message of the wire.
func (z *fuzzedSale) anything(id PeerID) {
	m, err := z.wire.Next()
	switch {
	case err == nil:
		z.says(id, m)
	case m.Data != nil && m.ID == peerwire.Piece:
		z.lent--
	}
}

// pays shows a link of the member's chain: the right one, or that of another index.
func (z *fuzzedSale) pays(id PeerID, m *fuzzedMember, n uint32) {
	index := min(n, fuzzLinks)
	link, _ := m.chain.Link(index)
	if n > fuzzLinks {
		index = n - fuzzLinks
	}
	z.says(id, peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: 1, Index: index, Link: link}})
}

// answer gives one of the answers that are waited for, or all of them.
func (z *fuzzedSale) answer(n uint32) {
	for k := len(z.answers); k > 0 && len(z.answers) > 0; k-- {
		i := int(n) % len(z.answers)
		do := z.answers[i]
		z.answers = slices.Delete(z.answers, i, i+1)
		do()
		z.take()
		if n%4 != 0 {
			return
		}
	}
}

// delivers sends what was asked for first, right or not.
func (z *fuzzedSale) delivers(id PeerID, m *fuzzedMember, lies bool) {
	if len(m.asked) == 0 {
		return
	}
	b := m.asked[0]
	m.asked = m.asked[1:]
	data := make([]byte, b.Length)
	copy(data, z.c.block(z.s.layout, b))
	if lies {
		data[0]++
	}
	z.lent++
	z.says(id, peerwire.Message{ID: peerwire.Piece, Index: b.Piece, Begin: b.Begin, Length: b.Length, Data: data})
}

func (z *fuzzedSale) acks(id PeerID, m *fuzzedMember, n uint32) {
	if m.deal == nil {
		return
	}
	alias := m.deal.Commit.Alias
	if n%2 == 0 {
		z.says(id, peerwire.Message{ID: peerwire.PayAckID, Rare: peerwire.PayAck{Alias: alias, Index: n / 2, Window: n / 2}})
	} else {
		z.says(id, peerwire.Message{ID: peerwire.PayHoldID, Rare: peerwire.PayHold{Alias: alias, Unpaid: n / 2}})
	}
}

// resumes names a commitment again: a buyer its own, a seller ours.
func (z *fuzzedSale) resumes(id PeerID, m *fuzzedMember, n uint32) {
	if n%2 == 0 {
		index := n / 2 % fuzzLinks
		link, _ := m.chain.Link(index)
		z.says(id, peerwire.Message{ID: peerwire.PayResumeID, Rare: peerwire.PayResume{
			Commitment: m.commit.ID(), Alias: 2, Index: index, Link: link, Owed: n % 3, Ahead: n % 2,
		}})
		return
	}
	if m.deal == nil {
		return
	}
	index := n / 2 % fuzzLinks
	link, _ := m.deal.Links.Link(index)
	if index <= m.deal.Cap { // it can only be one that we had released before
		m.shown = max(m.shown, uint64(index))
	}
	z.says(id, peerwire.Message{ID: peerwire.PayResumeID, Rare: peerwire.PayResume{
		Commitment: m.deal.Commit.Commitment.ID(), Alias: m.deal.Commit.Alias, Index: index, Link: link, Owed: n,
	}})
}

// check wants P1 and P2 to hold.
func (z *fuzzedSale) check() {
	z.t.Helper()
	for i, m := range z.members {
		if m.book.Owed()+m.book.Leased() > max(m.book.Window(), m.lent) {
			z.t.Fatalf("member %d owes %d units, and has %d lent, of %d", i+1, m.book.Owed(), m.book.Leased(), m.book.Window())
		}
		m.lent = max(m.lent, m.book.Window())
		if m.served > m.paid+m.lent+m.free {
			z.t.Fatalf("member %d was served %d units, paid %d, was lent %d, and given %d again", i+1, m.served, m.paid, m.lent, m.free)
		}
		if m.deal == nil {
			continue
		}
		id, early := m.deal.Commit.Commitment.ID(), uint64(prepaid)
		if !z.c.torrent.Info.HasV2 {
			early += 2 * uint64(z.s.layout.UnitsPerPiece())
		}
		if links := z.links[id]; links > m.shown+z.owed[id]+early || links > uint64(m.deal.Cap) {
			z.t.Fatalf("member %d was paid %d links, for %d units and %d before, under a cap of %d", i+1, links, z.owed[id], m.shown, m.deal.Cap)
		}
	}
}

// take performs effects as a node would. What is asked of wallet and ledger is
// answered when a step says so, what is asked of a Book at once.
func (z *fuzzedSale) take() {
	e := z.s.Take()
	for _, m := range e.Send {
		if b := blockOf(&m.Message); m.Message.ID == peerwire.Request {
			z.of(m.Peer).asked = append(z.of(m.Peer).asked, b)
		}
	}
	z.lent -= len(e.Free) + len(e.Verify)
	verify := slices.Clone(e.Verify)
	right := make([]bool, len(verify))
	for i, v := range verify {
		right[i] = bytes.Equal(v.Data, z.c.block(z.s.layout, v.Block))
	}
	serve, rows, gone := slices.Clone(e.Serve), slices.Clone(e.Hashes), slices.Clone(e.Drop)
	heavy := map[PeerID]int{}
	for i := range e.Send {
		if Heavy(&e.Send[i].Message) {
			heavy[e.Send[i].Peer]++
		}
	}
	for _, s := range serve {
		z.of(s.Peer).served++
	}
	z.takePays(&e.Pays)
	for i, v := range verify {
		z.judge(v, right[i])
	}
	for _, s := range serve {
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
		if m := z.of(d.Peer); m.id == d.Peer {
			m.on = false
		}
		z.s.Leave(z.now, d.Peer)
		z.take()
	}
}

// judge is the disk: a block is judged by its leaf, if that is proven, and with
// its piece.
func (z *fuzzedSale) judge(v Verification, right bool) {
	verdict := Verdict{Block: v.Block, OK: v.Leaf == nil || right}
	index := v.Block.Piece
	if verdict.OK {
		if z.drafts[index] == nil {
			z.drafts[index] = map[int]bool{}
		}
		d := z.drafts[index]
		d[int(v.Block.Begin/piece.BlockSize)] = right
		if verdict.Whole = len(d) == z.s.layout.Blocks(int(index)); verdict.Whole {
			verdict.Good = !slices.Contains(slices.Collect(maps.Values(d)), false)
			delete(z.drafts, index)
			if verdict.Good {
				verdict.False = z.failed[index]
			} else {
				z.failed[index] = falseOf(d)
			}
		} else if v.Leaf == nil {
			return
		}
	}
	z.s.Verified(z.now, verdict)
	z.take()
}

// falseOf are the blocks of a copy that are not right.
func falseOf(d map[int]bool) (wrong []int) {
	for _, k := range slices.Sorted(maps.Keys(d)) {
		if !d[k] {
			wrong = append(wrong, k)
		}
	}
	return wrong
}

func (z *fuzzedSale) takePays(e *Pays) {
	for _, d := range e.Owed {
		z.owed[d.Commitment]++
	}
	for _, r := range e.Record {
		switch r.Kind {
		case RecordLink:
			for _, m := range z.members {
				if m.commit.ID() == r.Commitment {
					m.best = r.Claim
				}
			}
		case RecordReleased:
			z.links[r.Commitment] = max(z.links[r.Commitment], uint64(r.Index))
		}
	}
	var now []func()
	for _, l := range e.Meet {
		m := z.of(l.Peer)
		left, owed, n := m.book.Join(z.torrent()), m.book.Owed(), m.book.Lease(z.torrent(), l.Units)
		m.free += uint64(len(left.Units))
		met := Meeting{left, owed, n, m.book.Room(z.torrent())}
		now = append(now, func() { z.s.Met(z.now, l.Peer, l.Account, met) })
	}
	for _, c := range e.Count {
		m := z.of(c.Peer)
		m.paid = max(m.paid, uint64(min(c.Index, c.Cap)))
		got := m.book.Count(z.now, c.Commitment, c.Index, c.Cap)
		m.lent = max(m.lent, m.book.Window())
		now = append(now, func() { z.s.Counted(z.now, c, got) })
	}
	for _, l := range e.Lend {
		m := z.of(l.Peer)
		if !l.Again {
			l.Units = m.book.Lease(z.torrent(), l.Units)
		} else if m.book.Resend(z.now) {
			m.free += l.Units
		} else {
			l.Units = 0
		}
		now = append(now, func() { z.s.Leased(z.now, l) })
	}
	for _, l := range e.Return {
		z.of(l.Peer).book.Return(z.torrent(), l.Units)
	}
	for _, l := range e.Leave {
		z.of(l.Peer).book.Leave(z.now, z.torrent(), l.Standing)
	}
	z.promise(e)
	for _, do := range now {
		do()
		z.take()
	}
}

// promise keeps what is answered later.
func (z *fuzzedSale) promise(e *Pays) {
	for _, r := range e.Resume {
		m := z.of(r.Peer)
		kept := &Kept{Commitment: m.commit, Best: m.best, Owed: m.book.Owed()}
		if r.Said.Commitment != m.commit.ID() {
			kept = nil
		}
		z.answers = append(z.answers, func() { z.s.Resumed(z.now, r.Peer, r.Said, kept) })
	}
	for _, b := range e.Buy {
		m := z.of(b.Peer)
		z.answers = append(z.answers, func() { z.s.Bought(z.now, b.Peer, z.dealWith(m, b)) })
	}
	for _, a := range e.Attribute {
		z.answers = append(z.answers, func() {
			a.Units = min(a.Units, 1)
			z.owed[a.Commitment] += a.Units
			z.s.Attributed(z.now, a)
		})
	}
	for _, r := range e.Raise {
		z.answers = append(z.answers, func() { z.s.NotRaised(z.now, r.Commitment) }, func() { z.ledger(payment.EventCap, r.Commitment, r.Cap) })
	}
	for _, c := range e.Close {
		z.answers = append(z.answers, func() {
			z.s.Closed(z.now, c.Peer, payment.SignedClose{Close: payment.Close{Commitment: c.Commitment, Final: c.Final}})
		})
	}
	if len(z.answers) > 100 {
		z.answers = z.answers[:100]
	}
}

// dealWith makes one deal with each member, and goes on with it; another one there
// is not.
func (z *fuzzedSale) dealWith(m *fuzzedMember, b Purchase) *Deal {
	if d := m.deal; d != nil {
		id := d.Commit.Commitment.ID()
		if b.Refused == id {
			return nil
		}
		again := *d
		again.Resumed, again.Index, again.Owed = true, uint32(z.links[id]), uint32(min(z.owed[id], payment.MaxLinks))
		m.deal, m.shown = &again, max(m.shown, z.links[id])
		return m.deal
	}
	nr := 16 + m.account[0]
	chain, commit := z.commitment(z.s.cfg.Account, m.account, nr)
	m.deal = &Deal{Commit: peerwire.PayCommit{Alias: peerwire.Alias(nr), Commitment: commit}, Links: chain, Cap: 8, PayAhead: true}
	return m.deal
}
