package node

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
)

// moody is a ledger that can be down, and that answers RedeemMany as others may:
// that somebody wrote the same rows.
type moody struct {
	ledger.Ledger

	mu        sync.Mutex // guards the following
	down      bool
	spared    int   // RedeemMany that are let through before those that
	conflicts int   // will fail
	redeems   []int // how many commitments each named
}

var errDown = errors.New("the ledger is down")

func (m *moody) set(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// calls returns the sizes of all RedeemMany since it was asked last.
func (m *moody) calls() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.redeems
	m.redeems = nil
	return all
}

func (m *moody) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	m.mu.Lock()
	down := m.down
	m.mu.Unlock()
	if down {
		<-ctx.Done() // as a client that tries again and again
		return contract.Answer{}, errDown
	}
	return m.Ledger.Query(ctx, q)
}

func (m *moody) Submit(ctx context.Context, tx *contract.Signed) (ledger.Receipt, error) {
	parsed, err := contract.ParseTransaction(tx.Body)
	if err != nil {
		return ledger.Receipt{}, err
	}
	m.mu.Lock()
	down, conflict := m.down, false
	if r, ok := parsed.Args.(*contract.RedeemMany); ok && !down {
		m.redeems = append(m.redeems, len(r.Redeems))
		if m.spared > 0 {
			m.spared--
		} else if conflict = m.conflicts > 0; conflict {
			m.conflicts--
		}
	}
	m.mu.Unlock()
	switch {
	case down:
		<-ctx.Done()
		return ledger.Receipt{}, errDown
	case conflict:
		return ledger.Receipt{Code: contract.Conflict}, nil
	}
	return m.Ledger.Submit(ctx, tx)
}

// dealing is a buyer and a seller who pay without a swarm between them.
type dealing struct {
	t             *testing.T
	club          *club
	moody         *moody
	buyer, seller *Membership
	goods         *goods
	intention     payment.IntentionID
	epoch         uint64
	slots         uint32
}

// testFunds is how many units the buyer freezes for the torrent of a dealing,
// at clubPrice each.
const testFunds = 64

// startDealing freezes coins for testFunds units.
func startDealing(t *testing.T) *dealing {
	t.Helper()
	c := newClub(t, "club")
	d := &dealing{t: t, club: c, moody: &moody{Ledger: c.ledger}, buyer: c.member(t, "buyer"), seller: c.member(t, "seller")}
	d.buyer.Ledger, d.seller.Ledger = d.moody, d.moody
	d.goods = makeGoods(t, 64*payment.UnitBytes, c.price())
	c.fund(t, d.buyer, 1000)
	d.do(d.buyer, &contract.RegisterTorrent{Info: d.goods.torrent.Info.Raw})
	a, err := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryCredits, Account: d.buyer.account()})
	if err != nil {
		t.Fatal(err)
	}
	d.do(d.buyer, &contract.Sweep{Credits: []contract.TxID{a.Credits[0].Tx}})
	d.intention = d.declare(d.buyer)
	if a, err = c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryLedger}); err != nil {
		t.Fatal(err)
	}
	d.epoch = a.Ledger.Epoch
	return d
}

func (d *dealing) torrent() payment.TorrentID { return payment.TorrentID(d.goods.torrent.Info.ID()) }

// declare freezes coins, as the wallet knows.
func (d *dealing) declare(m *Membership) payment.IntentionID { return d.declareFor(m, d.torrent()) }

func (d *dealing) declareFor(m *Membership, torrent payment.TorrentID) payment.IntentionID {
	d.t.Helper()
	request := newRequest()
	id := payment.IntentionOf(d.club.ledger.ID(), m.account(), torrent, request)
	if err := m.Wallet.Reserve(wallet.Reservation{Request: request, Intention: &wallet.Intention{
		ID: id, Torrent: torrent, Request: request, Units: testFunds, Coins: testFunds * clubPrice,
	}}); err != nil {
		d.t.Fatal(err)
	}
	d.submit(m, request, &contract.Declare{Torrent: torrent, Units: testFunds, Margin: 100, MaxPrice: clubPrice})
	return id
}

func (d *dealing) do(m *Membership, args contract.Arguments) ledger.Receipt {
	d.t.Helper()
	return d.submit(m, newRequest(), args)
}

func (d *dealing) submit(m *Membership, request payment.RequestID, args contract.Arguments) ledger.Receipt {
	d.t.Helper()
	signed, err := contract.Sign(m.Identity.Key(), m.Identity.Chain(), &contract.Transaction{
		Ledger: d.club.ledger.ID(), Time: uint64(time.Now().Unix()), Request: request, Args: args,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	r, err := d.club.ledger.Submit(context.Background(), signed)
	if err != nil || r.Err() != nil {
		d.t.Fatal(args.Call(), err, r.Err(), r.Items)
	}
	return r
}

// sale is a commitment that both wallets and the ledger know.
type sale struct {
	d      *dealing
	id     payment.CommitmentID
	commit payment.Commitment
	sig    payment.Signature
	chain  *payment.Chain
}

// open makes one of so many links, all of them under its cap.
func (d *dealing) open(links uint32, life time.Duration) *sale { return d.openUpTo(links, links, life) }

func (d *dealing) openUpTo(links, limit uint32, life time.Duration) *sale {
	d.t.Helper()
	s := d.promise(d.torrent(), d.intention, links, life)
	d.register(s, limit)
	if err := d.seller.Wallet.SaveClaim(&s.commit, s.sig); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// promise makes a commitment that no wallet and no ledger knows.
func (d *dealing) promise(torrent payment.TorrentID, i payment.IntentionID, links uint32, life time.Duration) *sale {
	d.t.Helper()
	s := &sale{d: d}
	var id payment.ChainID
	binary.BigEndian.PutUint32(id[:], d.slots)
	seed, err := d.buyer.Wallet.Seed(id)
	if err != nil {
		d.t.Fatal(err)
	}
	if s.chain, err = payment.NewChain(seed, id, links); err != nil {
		d.t.Fatal(err)
	}
	s.commit = payment.Commitment{
		Ledger: d.club.ledger.ID(), Intention: i, Torrent: torrent, Payer: d.buyer.account(), Receiver: d.seller.account(),
		Root: s.chain.Root(), Chain: id, Slot: d.slots, Links: links, Price: clubPrice, Epoch: d.epoch, Expiry: uint64(time.Now().Add(life).Unix()),
	}
	d.slots++
	s.id = s.commit.ID()
	if s.sig, err = s.commit.Sign(d.buyer.Identity.Key()); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// register registers a commitment, as the buyer's wallet knows.
func (d *dealing) register(s *sale, limit uint32) {
	d.t.Helper()
	d.registerMany([]*sale{s}, limit)
}

// registerMany is register for as many as one call takes.
func (d *dealing) registerMany(all []*sale, limit uint32) {
	d.t.Helper()
	var openings []wallet.Opening
	var call contract.OpenMany
	for _, s := range all {
		openings = append(openings, wallet.Opening{Commitment: s.commit, Signature: s.sig, Cap: limit})
		call.Opens = append(call.Opens, contract.Open{Commitment: s.commit, Cap: limit})
	}
	if err := d.buyer.Wallet.Reserve(wallet.Reservation{Openings: openings}); err != nil {
		d.t.Fatal(err)
	}
	d.do(d.buyer, &call)
}

// pay gives the seller the link of an index.
func (s *sale) pay(i uint32) {
	s.d.t.Helper()
	link, _ := s.chain.Link(i)
	if err := s.d.seller.Wallet.Link(s.id, payment.Claim{Index: i, Link: link}); err != nil {
		s.d.t.Fatal(err)
	}
}

// close signs the seller's last word, and files it.
func (s *sale) close(final uint32) {
	s.d.t.Helper()
	m := s.d.seller
	p := m.Identity.Principal()
	c := payment.Close{Ledger: s.commit.Ledger, Commitment: s.id, Final: final}
	signed, err := c.Sign(m.Identity.Key(), p.MSP, p.SPKI)
	if err != nil {
		s.d.t.Fatal(err)
	}
	if err := m.Wallet.SignedClose(&signed); err != nil {
		s.d.t.Fatal(err)
	}
	s.d.do(s.d.buyer, &contract.ReleaseMany{Releases: []contract.Release{{Close: signed}}})
	if err := s.d.buyer.Wallet.Ended(s.id, final); err != nil {
		s.d.t.Fatal(err)
	}
}

// has returns the coins that an account can spend, and those that are frozen.
func (d *dealing) has(m *Membership) (available, frozen payment.Amount) {
	d.t.Helper()
	a, err := d.club.ledger.Query(context.Background(), contract.Query{Kind: contract.QueryAccount, Account: m.account()})
	if err != nil {
		d.t.Fatal(err)
	}
	return a.Account.Available, a.Account.Frozen
}

// earned is how many units the seller has been paid for.
func (d *dealing) earned() int {
	available, _ := d.has(d.seller)
	return int(available / clubPrice)
}

// run starts a node of a member, without peers. What it says is kept.
func (d *dealing) run(m *Membership) (n *Node, said func() []string) {
	var mu sync.Mutex
	var all []string
	n = New(Config{Member: m, Say: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
	}})
	return n, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// told returns the kinds of events in a wallet's history, the oldest first.
func told(t *testing.T, m *Membership) (kinds []string) {
	t.Helper()
	events, err := m.Wallet.History(wallet.MaxHistory)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		kinds = append(kinds, events[len(events)-1-i].Kind)
	}
	return kinds
}
