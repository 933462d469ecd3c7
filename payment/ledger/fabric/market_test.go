//go:build fabric

package fabric

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"torrente/bencode"
	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger/ledgertest"
)

// The size of a market.
const (
	payersOfMarket    = 16
	uploadersOfMarket = 64
	slotsOfMarket     = 19 // commitments of each payer to each uploader, made beforehand
	linksOfMarket     = 64
	unitsOfMarket     = 200_000
	priceOfMarket     = 10
)

// market is payers and uploaders, with commitments that are ready to be redeemed.
type market struct {
	genesis   []byte
	network   *realNetwork
	clients   []*Client // one of each organisation's profile
	torrent   payment.TorrentID
	payers    []*payer
	uploaders []*uploader
}

type payer struct {
	id        *identity.Identity
	intention payment.IntentionID
	slot      uint32 // the next of each uploader
}

// uploader has claims that it has not redeemed.
type uploader struct {
	id     *identity.Identity
	claims []contract.Redeem
	coins  payment.Amount // redeemed
}

// newMarket makes a federation whose payers are rich.
func newMarket(b *testing.B) *market {
	b.Helper()
	now := time.Now()
	a := must[*identity.Authority](b)(identity.NewAuthority("Alpha", now.Add(-time.Hour), 365*24*time.Hour))
	m := &market{}
	g := &contract.Genesis{Created: uint64(now.Unix()), Name: "figures", Price: priceOfMarket}
	admin := ledgertest.Enroll(b, a, "admin", now)
	g.Organisations = []contract.Organisation{{MSP: "Alpha", Administrator: ledgertest.AccountOf(admin), Roots: [][]byte{a.Root().Raw}}}
	for i := range payersOfMarket {
		p := &payer{id: ledgertest.Enroll(b, a, fmt.Sprintf("payer %d", i), now)}
		m.payers = append(m.payers, p)
		g.Mints = append(g.Mints, contract.Mint{Account: ledgertest.AccountOf(p.id), Coins: unitsOfMarket * priceOfMarket})
	}
	for i := range uploadersOfMarket {
		m.uploaders = append(m.uploaders, &uploader{id: ledgertest.Enroll(b, a, fmt.Sprintf("uploader %d", i), now)})
	}
	m.genesis = must[[]byte](b)(g.Encode())
	return m
}

// client spreads callers over the organisations.
func (m *market) client(i int) *Client { return m.clients[i%len(m.clients)] }

// open registers the torrent, the payers' intentions and all commitments.
func (m *market) open(b *testing.B, n *realNetwork) {
	b.Helper()
	m.network = n
	for _, name := range organisationsOfNetwork {
		m.clients = append(m.clients, n.client(b, name))
	}
	m.register(b)
	var all errgroup.Group
	for i, p := range m.payers {
		all.Go(func() error { return m.prepare(b, i, p) })
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
}

// atHome waits until all clients use their own organisation's peer: on a slow machine
// others stand in while many commitments are opened at once.
func (m *market) atHome(b *testing.B) {
	b.Helper()
	for _, c := range m.clients {
		until(b, "a client is back at its own peer", func() bool {
			must[contract.Answer](b)(c.Query(b.Context(), contract.Query{Kind: contract.QueryLedger}))
			return c.preferredOne().own
		})
	}
}

func (m *market) register(b *testing.B) {
	b.Helper()
	c := m.client(0)
	short := c.ID().Short()
	info := must[[]byte](b)(bencode.Encode(map[string]any{
		"length": int64(unitsOfMarket) * payment.UnitBytes, "name": "figures", "piece length": 1 << 20,
		"pieces": string(make([]byte, 20*((unitsOfMarket+63)/64))),
		"pay":    map[string]any{"federation": "https://example.org", "ledger": string(short[:])},
	}))
	succeeds(b, c, m.uploaders[0].id, &contract.RegisterTorrent{Info: info})
	m.torrent = sha256.Sum256(info)
}

// prepare declares a payer's intention and opens its commitments.
func (m *market) prepare(b *testing.B, i int, p *payer) error {
	c := m.client(i)
	tx := &contract.Transaction{
		Ledger: c.ID(), Time: uint64(time.Now().Unix()),
		Args: &contract.Declare{Torrent: m.torrent, Units: unitsOfMarket, Margin: 100, MaxPrice: priceOfMarket},
	}
	_, _ = rand.Read(tx.Request[:]) // which never fails
	signed, err := contract.Sign(p.id.Key(), p.id.Chain(), tx)
	if err != nil {
		return err
	}
	if r, err := c.Submit(b.Context(), signed); err != nil || r.Code != contract.OK {
		return fmt.Errorf("declare: %+v, %w", r, err)
	}
	p.intention = payment.IntentionOf(c.ID(), ledgertest.AccountOf(p.id), m.torrent, tx.Request)
	var opens []contract.Open
	for range slotsOfMarket {
		for _, u := range m.uploaders {
			o, claim := m.promise(c, p, u, linksOfMarket)
			opens = append(opens, o)
			u.add(claim)
		}
		p.slot++
	}
	for len(opens) > 0 {
		some := opens[:min(200, len(opens))]
		opens = opens[len(some):]
		if err := m.call(b, c, p.id, &contract.OpenMany{Opens: some}); err != nil {
			return err
		}
	}
	return nil
}

var adding sync.Mutex

func (u *uploader) add(claim contract.Redeem) {
	adding.Lock()
	defer adding.Unlock()
	u.claims = append(u.claims, claim)
}

// promise makes a commitment of a payer to an uploader, and the claim to all of it.
func (m *market) promise(c *Client, p *payer, u *uploader, cap uint32) (contract.Open, contract.Redeem) {
	var id payment.ChainID
	_, _ = rand.Read(id[:]) // which never fails
	chain, err := payment.NewChain(payment.Seed{1}, id, linksOfMarket)
	if err != nil {
		panic(err) // the length is a constant
	}
	commitment := payment.Commitment{
		Ledger: c.ID(), Intention: p.intention, Torrent: m.torrent, Payer: ledgertest.AccountOf(p.id), Receiver: ledgertest.AccountOf(u.id),
		Root: chain.Root(), Chain: id, Slot: p.slot, Links: linksOfMarket, Price: priceOfMarket, Epoch: 1,
		Expiry: uint64(time.Now().Add(24 * time.Hour).Unix()),
	}
	link, _ := chain.Link(linksOfMarket)
	return contract.Open{Commitment: commitment, Cap: cap}, contract.Redeem{Commitment: commitment.ID(), Index: linksOfMarket, Link: link}
}

// call submits a call all of whose items have to succeed.
func (m *market) call(b *testing.B, c *Client, who *identity.Identity, args contract.Arguments) error {
	r, err := c.Submit(b.Context(), sign(b, c, who, args))
	if err != nil {
		return err
	}
	for _, code := range append(r.Items, r.Code) {
		if code != contract.OK {
			return fmt.Errorf("%s: %+v", args.Call(), r)
		}
	}
	return nil
}

// redeem has an uploader show some of its claims in one call.
func (m *market) redeem(b *testing.B, i, claims int) error {
	u := m.uploaders[i%len(m.uploaders)]
	adding.Lock()
	if len(u.claims) < claims {
		adding.Unlock()
		return fmt.Errorf("uploader %d has %d claims, not %d", i%len(m.uploaders), len(u.claims), claims)
	}
	some := u.claims[:claims]
	u.claims = u.claims[claims:]
	u.coins += payment.Amount(claims * linksOfMarket * priceOfMarket)
	adding.Unlock()
	return m.call(b, m.client(i), u.id, &contract.RedeemMany{Redeems: some})
}

// balances compares what uploaders have with what they redeemed, and all coins
// with those that were minted.
func (m *market) balances(b *testing.B) {
	b.Helper()
	c := m.client(0)
	var sum payment.Amount
	for i, u := range m.uploaders {
		a := accountOf(b, c, u.id)
		if a.Available != u.coins {
			b.Errorf("uploader %d has %s coins, and redeemed %s", i, a.Available, u.coins)
		}
		sum += a.Available
	}
	for _, p := range m.payers {
		a := accountOf(b, c, p.id)
		sum += a.Available + a.Frozen
	}
	if info := must[contract.Answer](b)(c.Query(b.Context(), contract.Query{Kind: contract.QueryLedger})).Ledger; sum != info.Minted {
		b.Errorf("%s coins are somewhere, %s were minted", sum, info.Minted)
	}
}
