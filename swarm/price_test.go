package swarm

import (
	"testing"
	"time"

	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// A seller takes commitments at the price of the present epoch and of the one
// before, and tells its buyers when the price changes.
func TestPricesOfTwoEpochs(t *testing.T) {
	chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 10)
	if err != nil {
		t.Fatal(err)
	}
	c := soldContent(t, 64<<10, 1_000_000)
	for _, x := range []struct {
		what  string
		price payment.Amount
		epoch uint64
		taken bool
	}{
		{"the present price", 7, 5, true},
		{"the price before, of its epoch", 3, 4, true},
		{"the price before, in the present epoch", 3, 5, false},
		{"the present price, in the epoch before", 7, 4, false},
		{"two epochs ago", 3, 3, false},
		{"an epoch that we have not heard of", 7, 6, false},
	} {
		s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: payment.Account{1}})
		h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
		s.Opened(h.now, fullOf(s), nil)
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: 3, Epoch: 4})
		s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
		s.Authenticated(h.now, 1, payment.Account{9})
		s.Met(h.now, 1, payment.Account{9}, Meeting{})
		s.Take()
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: 7, Epoch: 5, Before: 3})
		if terms := said[peerwire.PayTerms](s.Take()); len(terms) != 1 || terms[0].Price != 7 || terms[0].Epoch != 5 {
			t.Errorf("the buyer is told %+v", terms)
		}
		h.says(peerwire.Message{ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: 1, Commitment: payment.Commitment{
			Torrent: payment.TorrentID(c.torrent.Info.ID()), Payer: payment.Account{9}, Receiver: payment.Account{1},
			Root: chain.Root(), Chain: payment.ChainID{1}, Links: 10, Price: x.price, Epoch: x.epoch,
			Expiry: uint64(h.now.Add(minExpiry).Unix()),
		}}})
		if dropped := len(s.Take().Drop) > 0; dropped == x.taken {
			t.Errorf("%s: dropped %v", x.what, dropped)
		}
	}
}

// A seller may know of a price before its buyer: what it offers is judged when
// the ledger has told the buyer too.
func TestTermsBeforeTheLedgersEvent(t *testing.T) {
	c := soldContent(t, 64<<10, 1_000_000)
	s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: payment.Account{1}})
	h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
	s.Opened(h.now, piece.NewBitfield(s.layout.Pieces()), nil)
	s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: 3, Epoch: 1})
	s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
	s.Authenticated(h.now, 1, payment.Account{9})
	h.says(peerwire.Of(peerwire.HaveAll))
	h.says(peerwire.Message{ID: peerwire.PayTermsID, Rare: peerwire.PayTerms{Price: 7, Epoch: 2, Unit: 16384}})
	if e := s.Take(); len(e.Pays.Buy) != 0 || len(said[peerwire.PayError](e)) != 0 {
		t.Fatalf("it buys %+v", e.Pays.Buy)
	}
	s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: 7, Epoch: 2, Before: 3})
	if e := s.Take(); len(e.Pays.Buy) != 1 {
		t.Fatalf("it buys %+v", e.Pays.Buy)
	}
	h.says(peerwire.Message{ID: peerwire.PayTermsID, Rare: peerwire.PayTerms{Price: 3, Epoch: 1, Unit: 16384}})
	if wrong := said[peerwire.PayError](s.Take()); len(wrong) != 1 || wrong[0].Code != PayErrorTerms {
		t.Errorf("an offer at the price of before is answered %+v", wrong)
	}
}

// said returns the messages of a kind that a Swarm sends.
func said[M any](e *Effects) (all []M) {
	for _, m := range e.Send {
		if r, ok := m.Message.Rare.(M); ok {
			all = append(all, r)
		}
	}
	return all
}
