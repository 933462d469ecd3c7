package wallet

import (
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrente/payment"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(childDir) != "" {
		child() // never returns
	}
	goleak.VerifyTestMain(m)
}

// today is when all tests happen.
var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const testLinks = 1000

func must[V any](t testing.TB) func(v V, err error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testConfig() Config {
	return Config{Account: payment.Account{1}, Ledger: payment.LedgerID{2}, Key: [32]byte{3}, SyncEvery: time.Hour}
}

// commitment returns the nth of a chain that was really made. Those of out are
// paid by the wallet's account, the others pay it.
func commitment(n int, out bool) *payment.Commitment {
	c := &payment.Commitment{
		Ledger: payment.LedgerID{2}, Intention: payment.IntentionID{4}, Torrent: payment.TorrentID{5},
		Payer: payment.Account{1}, Receiver: payment.Account{9, byte(n)},
		Links: testLinks, Price: 10, Expiry: uint64(today.Add(time.Duration(n+1) * time.Hour).Unix()),
	}
	binary.BigEndian.PutUint32(c.Chain[:], uint32(n))
	if !out {
		c.Payer, c.Receiver = c.Receiver, c.Payer
	}
	c.Root, _ = chainOf(c.Chain).Link(0)
	return c
}

var chains struct {
	sync.Mutex
	byID map[payment.ChainID]*payment.Chain
}

func chainOf(id payment.ChainID) *payment.Chain {
	chains.Lock()
	defer chains.Unlock()
	if chains.byID == nil {
		chains.byID = map[payment.ChainID]*payment.Chain{}
	}
	if chains.byID[id] == nil {
		c, err := payment.NewChain(payment.Seed{7}, id, testLinks)
		if err != nil {
			panic(err)
		}
		chains.byID[id] = c
	}
	return chains.byID[id]
}

// linkOf returns link i of a commitment's chain.
func linkOf(c *payment.Commitment, i uint32) payment.Claim {
	chain := chainOf(c.Chain)
	chains.Lock()
	defer chains.Unlock()
	link, _ := chain.Link(i)
	return payment.Claim{Index: i, Link: link}
}

func openingOf(c *payment.Commitment, units uint32) Opening {
	return Opening{Commitment: *c, Signature: payment.Signature{8, c.Chain[3]}, Request: payment.RequestID{6}, Cap: units}
}

func closeOf(c *payment.Commitment, final uint32) *payment.SignedClose {
	return &payment.SignedClose{
		Close: payment.Close{Ledger: c.Ledger, Commitment: c.ID(), Final: final},
		MSP:   "Org1MSP", SPKI: []byte{1, 2, 3}, Signature: payment.Signature{9},
	}
}

// opened opens a wallet, which is closed with the test.
func opened(t testing.TB, dir string, config Config) *Wallet {
	t.Helper()
	w := must[*Wallet](t)(Open(dir, config))
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// crashed copies a wallet's folder as SIGKILL would leave it.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	copyFolder(t, to, dir)
	return to
}

func copyFolder(t testing.TB, to, from string) {
	t.Helper()
	for _, name := range [...]string{dbName, linksName, owedName, newDBName} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue
		}
		ok(t, err)
		ok(t, os.WriteFile(filepath.Join(to, name), b, 0o600))
	}
}
