package node

import (
	"net/netip"
	"testing"

	"torrente/payment/contract"
)

// A torrent opened by a link with AskFirst gets its metadata and freezes no coin
// before Allow, nor more than that says.
func TestAllow(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	shop := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", shop.Opened())
	if err := shop.node.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	m := c.member(t, "buyer")
	c.fund(t, m, 1000)
	buyer := add(t, startNode(t, m), Options{Magnet: g.torrent.Magnet(), Peers: []netip.AddrPort{at(shop.node)}, AskFirst: true})
	within(t, "the metadata", buyer.Opened())
	eventually(t, "an offer", func() bool { return authenticated(buyer) == 1 && buyer.Status().WantPayment == 1 })
	frozen := func() int {
		a, err := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryAccount, Account: m.account()})
		if err != nil {
			t.Fatal(err)
		}
		return int(a.Account.Frozen)
	}
	if frozen() != 0 || len(m.Wallet.Intentions()) != 0 || buyer.PaymentTrouble() != nil {
		t.Errorf("%d coins are frozen, trouble %v", frozen(), buyer.PaymentTrouble())
	}
	buyer.Allow(Consent{160, clubPrice})
	within(t, "the paid download", buyer.Complete())
	if n := frozen(); n > 160 {
		t.Errorf("%d coins are frozen", n)
	}
}
