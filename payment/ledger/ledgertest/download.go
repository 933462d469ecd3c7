package ledgertest

import (
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"torrente/bencode"
	"torrente/payment"
	"torrente/payment/contract"
)

// units is how many the torrent of a download has.
const units = 100

// download goes the way of a coin from Rich to Poor: frozen, promised, claimed,
// closed, returned and swept.
func download(t *testing.T, f *Fixture) {
	price := f.info(t).Price
	torrent := f.register(t)
	rich, poor := f.account(t, AccountOf(f.Rich)), f.account(t, AccountOf(f.Poor))
	intention := f.declare(t, torrent, price)
	c, chain := f.promise(t, torrent, intention, price)
	id := c.ID()
	f.done(t, f.Rich, &contract.OpenMany{Opens: []contract.Open{{Commitment: *c, Cap: 10}}})
	f.done(t, f.Rich, &contract.TopUpMany{TopUps: []contract.TopUp{{Commitment: id, K: 1, Cap: 60}}})
	if a := f.account(t, AccountOf(f.Rich)); a.Available != rich.Available-100*price || a.Frozen != rich.Frozen+100*price {
		t.Errorf("%+v, and before %+v", a, rich)
	}
	link, _ := chain.Link(40)
	wrong := link
	wrong[3] ^= 1
	claim := contract.Redeem{Commitment: id, K: 1, Index: 40, Link: wrong}
	if r := f.submit(t, f.call(t, f.Poor, &contract.RedeemMany{Redeems: []contract.Redeem{claim}})); r.Code != contract.NoneDone || r.Items[0] != contract.BadLink {
		t.Errorf("%+v", r)
	}
	claim.Link = link
	redeemed := f.done(t, f.Poor, &contract.RedeemMany{Redeems: []contract.Redeem{claim}})
	if redeemed.Coins != 40*price {
		t.Errorf("%+v", redeemed)
	}
	signed := must[payment.SignedClose](t)(payment.Close{Ledger: f.Ledger.ID(), Commitment: id, Final: 40}.Sign(
		f.Poor.Key(), f.Poor.Principal().MSP, f.Poor.Principal().SPKI))
	f.done(t, f.Rich, &contract.ReleaseMany{Releases: []contract.Release{{Close: signed, K: 1}}})
	f.done(t, f.Rich, &contract.Close{Intention: intention})
	f.done(t, f.Poor, &contract.Sweep{Credits: []contract.TxID{redeemed.Tx}})
	paid := f.account(t, AccountOf(f.Poor))
	if paid.Available != poor.Available+40*price || paid.Balance != poor.Balance+40*price {
		t.Errorf("%+v, and before %+v", paid, poor)
	}
	if a := f.account(t, AccountOf(f.Rich)); a.Available != rich.Available-40*price || a.Frozen != rich.Frozen {
		t.Errorf("%+v, and before %+v", a, rich)
	}
	got := f.ask(t, contract.Query{Kind: contract.QueryCommitment, Commitment: id}).Commitments
	if len(got) != 1 || got[0].Redeemed != 40 || !got[0].Settled || got[0].Cap != 60 {
		t.Errorf("%+v", got)
	}
}

// register makes a torrent of Poor's known.
func (f *Fixture) register(t *testing.T) payment.TorrentID {
	t.Helper()
	short := f.Ledger.ID().Short()
	info := must[[]byte](t)(bencode.Encode(map[string]any{
		"length": units * payment.UnitBytes, "name": rand.Text(), "piece length": 1 << 20,
		"pieces": string(make([]byte, 20*((units+63)/64))),
		"pay":    map[string]any{"federation": "https://example.org", "ledger": string(short[:])},
	}))
	f.done(t, f.Poor, &contract.RegisterTorrent{Info: info})
	return sha256.Sum256(info)
}

// declare freezes the price of all units.
func (f *Fixture) declare(t *testing.T, torrent payment.TorrentID, price payment.Amount) payment.IntentionID {
	t.Helper()
	tx := f.transaction(&contract.Declare{Torrent: torrent, Units: units, Margin: 100, MaxPrice: price})
	if r := f.submit(t, sign(t, f.Rich, tx)); r.Code != contract.OK || r.Coins != units*price {
		t.Fatalf("%+v", r)
	}
	return payment.IntentionOf(f.Ledger.ID(), AccountOf(f.Rich), torrent, tx.Request)
}

// promise makes Rich's commitment to Poor, and its chain.
func (f *Fixture) promise(t *testing.T, torrent payment.TorrentID, intention payment.IntentionID, price payment.Amount) (*payment.Commitment, *payment.Chain) {
	t.Helper()
	var id payment.ChainID
	_, _ = rand.Read(id[:]) // which never fails
	chain := must[*payment.Chain](t)(payment.NewChain(payment.Seed{1}, id, units))
	return &payment.Commitment{
		Ledger: f.Ledger.ID(), Intention: intention, Torrent: torrent, Payer: AccountOf(f.Rich), Receiver: AccountOf(f.Poor),
		Root: chain.Root(), Chain: id, Links: units, Price: price, Epoch: f.info(t).Epoch,
		Expiry: uint64(f.Now().Add(24 * time.Hour).Unix()),
	}, chain
}
