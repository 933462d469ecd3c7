package wallet

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"torrente/payment"
)

// longChain is a claim or opening that benchmarks cannot exhaust.
func longChain(n int, out bool) *payment.Commitment {
	c := commitment(n, out)
	c.Links = payment.MaxLinks
	return c
}

func BenchmarkLink(b *testing.B) {
	w := opened(b, b.TempDir(), Config{Account: payment.Account{1}, Ledger: payment.LedgerID{2}})
	var ids []payment.CommitmentID
	for n := range 64 {
		c := longChain(n, false)
		ok(b, w.SaveClaim(c, payment.Signature{}))
		ids = append(ids, c.ID())
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		ok(b, w.Link(ids[i%64], payment.Claim{Index: uint32(i/64 + 1)}))
		i++
	}
}

func BenchmarkLinks16(b *testing.B) {
	w := opened(b, b.TempDir(), Config{Account: payment.Account{1}, Ledger: payment.LedgerID{2}})
	batch := make([]Paid, 16)
	for n := range batch {
		c := longChain(n, false)
		ok(b, w.SaveClaim(c, payment.Signature{}))
		batch[n].Commitment = c.ID()
	}
	b.ReportAllocs()
	for b.Loop() {
		for n := range batch {
			batch[n].Index++
		}
		ok(b, w.Links(batch))
	}
}

func BenchmarkOwed(b *testing.B) {
	w := opened(b, b.TempDir(), Config{Account: payment.Account{1}, Ledger: payment.LedgerID{2}})
	c := longChain(0, true)
	ok(b, w.Reserve(Reservation{Openings: []Opening{openingOf(c, 9)}}))
	id := c.ID()
	b.ReportAllocs()
	unit := uint32(0)
	for b.Loop() {
		if fresh, err := w.Owed(id, unit); err != nil || !fresh {
			b.Fatal(err)
		}
		unit++
	}
}

func BenchmarkOwed16(b *testing.B) {
	w := opened(b, b.TempDir(), Config{Account: payment.Account{1}, Ledger: payment.LedgerID{2}})
	c := longChain(0, true)
	ok(b, w.Reserve(Reservation{Openings: []Opening{openingOf(c, 9)}}))
	batch := make([]payment.Delivery, 16)
	for i := range batch {
		batch[i] = payment.Delivery{Commitment: c.ID(), Unit: uint32(i)}
	}
	b.ReportAllocs()
	for b.Loop() {
		if fresh, err := w.OwedMany(batch); err != nil || fresh != 16 {
			b.Fatal(err)
		}
		for i := range batch {
			batch[i].Unit += 16
		}
	}
}

func BenchmarkSaveBook(b *testing.B) {
	w := opened(b, b.TempDir(), testConfig())
	book := make([]byte, 300)
	for b.Loop() {
		ok(b, w.SaveBook(payment.Account{1}, book))
	}
}

// BenchmarkOpenFull opens a wallet that was killed with a log of 8 MiB.
func BenchmarkOpenFull(b *testing.B) {
	dir := b.TempDir()
	w := opened(b, dir, testConfig())
	var batch []payment.Delivery
	for n := range 50 {
		c := longChain(n, true)
		ok(b, w.Reserve(Reservation{Openings: []Opening{openingOf(c, 9)}}))
		for i := range (foldBytes - headerBytes) / owedBytes / 50 {
			batch = append(batch, payment.Delivery{Commitment: c.ID(), Unit: uint32(50*i + n)})
		}
	}
	must[int](b)(w.OwedMany(batch))
	for b.Loop() {
		b.StopTimer()
		copied := crashed(b, dir)
		b.StartTimer()
		ok(b, must[*Wallet](b)(Open(copied, testConfig())).Close())
		b.StopTimer()
		info := must[os.FileInfo](b)(os.Stat(filepath.Join(copied, owedName)))
		if info.Size() != headerBytes {
			b.Fatal(fmt.Sprint(info.Size()))
		}
		b.StartTimer()
	}
}
