package swarm

import (
	"testing"
	"time"

	"torrente/payment"
	"torrente/peerwire"
)

// While the ledger is not heard of, a buyer is served as long as its commitment
// has three hours left, then no more, and again when the ledger is back. Links
// that come meanwhile count.
func TestUnheardLedger(t *testing.T) {
	chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 10)
	if err != nil {
		t.Fatal(err)
	}
	c := soldContent(t, 64<<10, 1_000_000)
	s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: payment.Account{1}})
	h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
	commit := payment.Commitment{
		Torrent: payment.TorrentID(c.torrent.Info.ID()), Payer: payment.Account{9}, Receiver: payment.Account{1},
		Root: chain.Root(), Chain: payment.ChainID{1}, Links: 10, Price: testPrice, Epoch: 1,
		Expiry: uint64(h.now.Add(unheardRest + time.Minute).Unix()),
	}
	s.Opened(h.now, fullOf(s), nil)
	s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
	s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
	s.Authenticated(h.now, 1, commit.Payer)
	s.Met(h.now, 1, commit.Payer, Meeting{})
	h.says(peerwire.Of(peerwire.Interested))
	h.says(peerwire.Message{ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: 1, Commitment: commit}})
	s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventOpened, Commitment: commit.ID(), Cap: 10})
	paid := uint32(0)
	pay := func() {
		t.Helper()
		paid++
		link, _ := chain.Link(paid)
		h.says(peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: 1, Index: paid, Link: link}})
		counts := s.Take().Pays.Count
		if len(counts) != 1 {
			t.Fatalf("link %d: %d count", paid, len(counts))
		}
		s.Counted(h.now, counts[0], payment.Counted{Paid: 1})
	}
	served := func(what string, want int) {
		t.Helper()
		h.says(peerwire.BlockMessage(peerwire.Request, 0, (paid-1)<<14, 1<<14))
		if n := len(s.Take().Serve); n != want {
			t.Errorf("%s: %d blocks are served, want %d", what, n, want)
		}
	}
	pass := func(d time.Duration) {
		h.now = h.now.Add(d)
		s.Advance(h.now)
	}

	s.Unheard(h.now, true)
	pay()
	served("with three hours left", 1)
	s.Sent(h.now, 1, 1, 1<<14)
	pass(61 * time.Second)
	if st := s.Status(); st.Doubted != 1 || !st.Unheard || st.Served != 0 {
		t.Errorf("%+v", st)
	}
	pay()
	served("with less", 0)
	pass(time.Second)
	served("a second later", 0)
	s.Unheard(h.now, false)
	served("when it is back", 1)
	if st := s.Status(); st.Doubted != 0 || st.Served != 1 {
		t.Errorf("%+v", st)
	}
}

// A commitment that lasts, beside one that ends soon, lets nobody pay on the
// latter: what is served is what is paid on the former.
func TestUnheardLedgerAndALongCommitment(t *testing.T) {
	c := soldContent(t, 64<<10, 1_000_000)
	s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: payment.Account{1}})
	h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
	s.Opened(h.now, fullOf(s), nil)
	s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
	s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
	s.Authenticated(h.now, 1, payment.Account{9})
	s.Met(h.now, 1, payment.Account{9}, Meeting{Owed: 3})
	h.says(peerwire.Of(peerwire.Interested))
	const short, long = 1, 2
	chains := map[peerwire.Alias]*payment.Chain{}
	for alias, x := range map[peerwire.Alias]struct {
		rest time.Duration
		cap  uint32
	}{short: {unheardRest - time.Minute, 10}, long: {24 * time.Hour, 1}} {
		chain, err := payment.NewChain(payment.Seed{byte(alias)}, payment.ChainID{byte(alias)}, 10)
		if err != nil {
			t.Fatal(err)
		}
		chains[alias] = chain
		commit := payment.Commitment{
			Torrent: payment.TorrentID(c.torrent.Info.ID()), Payer: payment.Account{9}, Receiver: payment.Account{1},
			Root: chain.Root(), Chain: payment.ChainID{byte(alias)}, Links: 10, Price: testPrice, Epoch: 1,
			Expiry: uint64(h.now.Add(x.rest).Unix()),
		}
		h.says(peerwire.Message{ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: alias, Commitment: commit}})
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventOpened, Commitment: commit.ID(), Cap: x.cap})
	}
	s.Unheard(h.now, true)
	pay := func(alias peerwire.Alias, index uint32) {
		link, _ := chains[alias].Link(index)
		h.says(peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: alias, Index: index, Link: link}})
		counts := s.Take().Pays.Count
		if len(counts) != 1 {
			t.Fatalf("link %d of %d: %d count", index, alias, len(counts))
		}
		s.Counted(h.now, counts[0], payment.Counted{Paid: 1})
	}
	for i := range uint32(3) {
		pay(short, i+1)
		if st := s.Status(); st.Doubted != 1 {
			t.Errorf("who pays on what ends soon is served, after %d links", i+1)
		}
		h.says(peerwire.BlockMessage(peerwire.Request, 0, i<<14, 1<<14))
		if n := len(s.Take().Serve); n != 0 {
			t.Errorf("%d blocks are served", n)
		}
		h.now = h.now.Add(time.Second)
		s.Advance(h.now)
	}
	pay(long, 1)
	if st := s.Status(); st.Doubted != 0 {
		t.Error("who pays on what lasts is not served")
	}
}

// Who has another commitment that lasts, or none, is served as before.
func TestUnheardLedgerSparesOthers(t *testing.T) {
	at := func(rest time.Duration, cap uint32, ended bool) *claim {
		return &claim{commit: &payment.Commitment{Expiry: uint64(1e9 + rest/time.Second)}, cap: cap, ended: ended}
	}
	soon, late := at(time.Hour, 1, false), at(4*time.Hour, 1, false)
	for name, tt := range map[string]struct {
		claims []*claim
		want   bool
	}{
		"none":                       {nil, false},
		"one that ends soon":         {[]*claim{soon}, true},
		"one that lasts":             {[]*claim{late}, false},
		"both":                       {[]*claim{soon, late}, false},
		"the lasting not registered": {[]*claim{soon, at(4*time.Hour, 0, false)}, true},
		"the lasting is over":        {[]*claim{soon, at(4*time.Hour, 1, true)}, true},
		"all are over":               {[]*claim{at(time.Hour, 1, true)}, false},
	} {
		var s sale
		for i, c := range tt.claims {
			c.alias = peerwire.Alias(i)
			s.bind(c)
		}
		if got := s.endsBefore(time.Unix(1e9, 0).Add(unheardRest)); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
