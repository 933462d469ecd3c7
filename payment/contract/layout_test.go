package contract

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"torrente/payment"
)

// Rows that are kept outlive the program that wrote them: if this test fails, the
// rows have changed, and Layout has to be counted up.
func TestLayout(t *testing.T) {
	const layout, sum = 4, "9614140dbfdf021f5457a11081aa0ccd563a82676d925203557e739a534ded94"
	a, b := [32]byte{1}, [32]byte{2}
	c := payment.Commitment{
		Ledger: a, Intention: b, Torrent: a, Payer: b, Receiver: a, Root: b, Chain: payment.ChainID{3},
		Slot: 4, Links: 64, Price: 10, Epoch: 5, Expiry: 6,
	}
	var all strings.Builder
	for _, row := range []struct {
		key   string
		value rowWriter
	}{
		{keyLedger, ledgerRow{a, 7, 2, "name"}},
		{keyPriceNow, epoch(8)},
		{keyOrganisations, organisationList{"One", "Two"}},
		{keyMinted, coins(9)},
		{keyCommitment(a), commitment{&c, 20, endReleased, 5}},
		{keyCap(a, 63), units(10)},
		{keyRedeemed(a), claim{Index: 11, Link: b}},
		{keyIntention(a), &intention{a, b, 1, 2, 3, 4, 5, 6, 7, true}},
		{keyCredit(a, b), coins(12)},
		{keyAccount(a), coins(13)},
		{keyTorrent(a), torrent{[20]byte{1}, 14, 2}},
		{keyRoot(a, b), digest(a)},
		{keySlot(&c), digest(a)},
		{keyDelegate(a), digest(b)},
		{keyRequest(a, payment.RequestID{1}), request{digest(a), Result{Code: OK, Coins: 15, Items: []Code{OK, NoFunds}}}},
		{keyPrice(16), coins(17)},
		{keyRevoked(a), &revocation{digest(b), true, "One"}},
		{keyHeir(a), digest(b)},
		{keyProposal(a), &proposal{"One", 18, &SetPrice{19}}},
		{keyVote(a, "One"), present{}},
		{keyPassed(a), passing{21, 2}},
		{keyOrganisation("One"), organisation{a, b, [][]byte{{22}}}},
		{keyPile("One"), pile{23, 24}},
		{keyCA("One", a), authority{true, []byte{25}}},
		{hexed2(byPayer, a, b), present{}},
		{hexed2(byIntention, a, b), present{}},
		{hexed2(byReceiver, a, b), present{}},
	} {
		fmt.Fprintf(&all, "%s %x\n", row.key, row.value.append(nil))
	}
	got := fmt.Sprintf("%x", sha256.Sum256([]byte(all.String())))
	if Layout != layout || got != sum {
		t.Errorf("layout %d, and rows of %s:\n%s", Layout, got, all.String())
	}
}
