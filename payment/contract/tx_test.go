package contract

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torrente/internal/vectors"
	"torrente/payment"
)

// examples holds a transaction of each call, the same in every run.
func examples(t failer) []*Transaction {
	p := people()
	c := payment.Commitment{
		Ledger: payment.LedgerID{1}, Intention: payment.IntentionID{2}, Torrent: payment.TorrentID{3},
		Payer: p["alice"].Account(), Receiver: p["seller"].Account(), Root: payment.Link{4},
		Chain: payment.ChainID{5}, Slot: 6, Links: 7, Price: 8, Epoch: 9, Expiry: start + 24*hour,
	}
	id := c.ID()
	signed := must[payment.SignedClose](t)(payment.Close{Ledger: c.Ledger, Commitment: id, Final: 3}.Sign(p["seller"].key, "Org1MSP", p["seller"].SPKI))
	var all []*Transaction
	for i, args := range []Arguments{
		&RegisterTorrent{Info: []byte("de")},
		&Declare{c.Torrent, 10, 125, 11, []Open{{c, 5}}, nil},
		&AddFunds{c.Intention, 10, 100},
		&OpenMany{[]Open{{c, 5}}},
		&TopUpMany{[]TopUp{{id, 1, 6}, {id, 63, 7}}},
		&RedeemMany{[]Redeem{{id, 0, 5, payment.Link{9}}}},
		&ReleaseMany{[]Release{{signed, 1}}},
		&Close{c.Intention},
		&Refund{[]Settle{{id, 1}}},
		&Sweep{[]TxID{{1}, {2}}},
		&Transfer{p["bob"].Account(), 1000},
		&SetDelegate{p["other"].Account()},
		&Revoke{"Org1MSP", p["bob"].SPKI},
		&Reinstate{p["bob"].Account()},
		&AddRoot{"Org1MSP", []byte{0x30, 0}},
		&RemoveRoot{"Org1MSP", [32]byte{7}},
		&Propose{&SetPrice{12}},
		&Propose{&Mint{p["bob"].Account(), 1000}},
		&Propose{&Revoke{"Org1MSP", p["bob"].SPKI}},
		&Propose{&Reinstate{p["bob"].Account()}},
		&Propose{&Reassign{"Org1MSP", p["bob"].SPKI, p["other"].SPKI}},
		&Approve{TxID{8}},
		&Inherit{p["bob"].Account(), []TxID{{1}, {2}}},
		&Declare{c.Torrent, 10, 125, 11, nil, []TxID{{1}, {2}}},
		&Propose{&Admit{Organisation{mspOf(2), p["admin2"].Account(), [][]byte{{0x30, 0}, {0x30, 1}}}}},
	} {
		all = append(all, &Transaction{c.Ledger, start, payment.RequestID{byte(i)}, args})
	}
	return all
}

type transactionVector struct {
	Call      string `json:"call"`
	Body      string `json:"body"`
	ID        TxID   `json:"id"`
	Signature string `json:"signature"`
}

func TestTransactionVectors(t *testing.T) {
	alice := people()["alice"]
	var all []transactionVector
	for _, tx := range examples(t) {
		s := must[*Signed](t)(Sign(alice.key, [][]byte{{0x30}}, tx))
		if err := s.VerifySignature(alice.SPKI); err != nil {
			t.Fatal(err)
		}
		all = append(all, transactionVector{
			tx.Args.Call().String(), hex.EncodeToString(s.Body), tx.ID(alice.Account()), hex.EncodeToString(s.Signature[:]),
		})
	}
	vectors.Check(t, "transactions.json", map[string]any{
		"msp": alice.MSP, "spki": hex.EncodeToString(alice.SPKI), "account": alice.Account(), "transactions": all,
	})
}

func TestTransactionsRoundTrip(t *testing.T) {
	seen := map[Call]bool{}
	for _, tx := range examples(t) {
		seen[tx.Args.Call()] = true
		b := tx.Append(nil)
		got := must[*Transaction](t)(ParseTransaction(b))
		if diff := cmp.Diff(tx, got); diff != "" || !bytes.Equal(got.Append(nil), b) {
			t.Errorf("%s: %s", tx.Args.Call(), diff)
		}
		for i := range b {
			if _, err := ParseTransaction(b[:i]); !errors.Is(err, ErrTransaction) {
				t.Fatalf("%s: the first %d bytes: %v", tx.Args.Call(), i, err)
			}
		}
		if _, err := ParseTransaction(append(b, 0)); !errors.Is(err, ErrTransaction) {
			t.Errorf("%s and a byte more: %v", tx.Args.Call(), err)
		}
	}
	for c := range calls {
		if r := Call(c).rules(); (r != nil) != seen[Call(c)] {
			t.Errorf("%s has no example", Call(c))
		}
	}
	if Call(200).String() != "call 200" || Call(0).rules() != nil {
		t.Error("unknown calls have rules")
	}
}

func TestListsAreBounded(t *testing.T) {
	sweep := func(n int) []byte {
		return (&Transaction{Args: &Sweep{make([]TxID, n)}}).Append(nil)
	}
	for n, want := range map[int]bool{0: false, 1: true, MaxItems: true, MaxItems + 1: false} {
		if _, err := ParseTransaction(sweep(n)); (err == nil) != want {
			t.Errorf("%d items: %v", n, err)
		}
	}
	declare := &Transaction{Args: &Declare{}}
	if _, err := ParseTransaction(declare.Append(nil)); err != nil {
		t.Errorf("a Declare without opens: %v", err)
	}
	info := func(n int) []byte { return (&Transaction{Args: &RegisterTorrent{make([]byte, n)}}).Append(nil) }
	for n, want := range map[int]bool{MaxInfo: true, MaxInfo + 1: false, 2 << 20: false} {
		if _, err := ParseTransaction(info(n)); (err == nil) != want {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	late := &Transaction{Time: payment.MaxTime + 1, Args: &Close{}}
	if _, err := ParseTransaction(late.Append(nil)); err == nil {
		t.Error("a time after the year 9999")
	}
}

func TestSigned(t *testing.T) {
	alice := people()["alice"]
	tx := examples(t)[0]
	s := must[*Signed](t)(Sign(alice.key, [][]byte{{1, 2}, {3}}, tx))
	b := s.Append(nil)
	got := must[*Signed](t)(ParseSigned(b))
	if !bytes.Equal(got.Append(nil), b) || got.VerifySignature(alice.SPKI) != nil {
		t.Errorf("%+v became %+v", s, got)
	}
	for i := range b {
		if _, err := ParseSigned(b[:i]); !errors.Is(err, ErrTransaction) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
	for what, spoil := range map[string]func(s *Signed){
		"no chain":       func(s *Signed) { s.Chain = nil },
		"five":           func(s *Signed) { s.Chain = make([][]byte, 5) },
		"a long chain":   func(s *Signed) { s.Chain = [][]byte{make([]byte, 16<<10), {1}} },
		"a long body":    func(s *Signed) { s.Body = make([]byte, MaxBody+1) },
		"altogether too": func(s *Signed) { s.Body = make([]byte, MaxSigned) },
	} {
		c := *s
		spoil(&c)
		if _, err := ParseSigned(c.Append(nil)); !errors.Is(err, ErrTransaction) {
			t.Errorf("%s: %v", what, err)
		}
		if err := c.Check(); !errors.Is(err, ErrTransaction) {
			t.Errorf("%s by hand: %v", what, err)
		}
	}
	if err := s.VerifySignature(people()["bob"].SPKI); !errors.Is(err, payment.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if err := s.VerifySignature([]byte{1}); !errors.Is(err, payment.ErrKey) {
		t.Errorf("no key: %v", err)
	}
	for bit := range 8 * len(s.Body) {
		s.Body[bit/8] ^= 1 << (bit % 8)
		if s.VerifySignature(alice.SPKI) == nil {
			t.Errorf("bit %d is not signed", bit)
		}
		s.Body[bit/8] ^= 1 << (bit % 8)
	}
	if _, err := Sign(alice.key, nil, &Transaction{Args: &Sweep{}}); !errors.Is(err, ErrTransaction) {
		t.Errorf("a list of none: %v", err)
	}
}

// The same body by two creators is two transactions, or one could take the
// other's receipt.
func TestTransactionIDsBelongToCreators(t *testing.T) {
	tx := examples(t)[0]
	if tx.ID(people()["alice"].Account()) == tx.ID(people()["bob"].Account()) {
		t.Error("one id")
	}
	var id TxID
	if text, err := tx.ID(payment.Account{}).MarshalText(); err != nil || id.UnmarshalText(text) != nil || id != tx.ID(payment.Account{}) {
		t.Errorf("%s became %v", text, id)
	}
}

func TestEveryCodeHasASentence(t *testing.T) {
	for c, s := range sentences {
		if s == "" || slices.Index(sentences[:], s) != c {
			t.Errorf("code %d: %q", c, s)
		}
		if err := Code(c).Err(); (err == nil) != (c < 2) {
			t.Errorf("code %d: %v", c, err)
		}
	}
	if Code(255).Error() == "" || Code(255).Success() {
		t.Error("an unknown code is a success")
	}
}

func FuzzParseTransaction(f *testing.F) {
	for _, tx := range examples(f) {
		f.Add(tx.Append(nil))
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := ParseTransaction(b)
		if err != nil {
			return
		}
		if again := tx.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		// Whatever it asks for, the books balance afterwards.
		tx.Ledger = w.ledger
		for _, who := range []string{"alice", "admin"} { // the administrator decides alone
			st := newCommitted(copyOf(w.state.memory))
			if _, err := Apply(st, people()[who].Creator, tx); err != nil {
				t.Fatal(err)
			}
			st.commit()
			if _, err := Audit(st.memory); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzParseSigned(f *testing.F) {
	alice := people()["alice"]
	s := must[*Signed](f)(Sign(alice.key, [][]byte{{1, 2}}, examples(f)[7]))
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSigned(b)
		if err != nil {
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func FuzzParseResult(f *testing.F) {
	f.Add((&Result{Code: OK, Coins: 5, Items: []Code{OK, NoFunds}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResult(b)
		if err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Fatalf("%x became %x", b, r.Append(nil))
		}
	})
}

func BenchmarkRedeem(b *testing.B) {
	w := newWorld(b)
	const n, unitsEach = 200, 64
	_ = w.state.memory.Put(keyAccount(people()["alice"].Account()), coins(1<<40).append(nil))
	var redeems []Redeem
	for range n {
		i := w.declareForBench()
		c, chain := w.promise("alice", "seller", i, unitsEach)
		if got := w.apply("alice", w.transaction(&OpenMany{[]Open{{c, unitsEach}}})); got.Code != OK {
			b.Fatal(got)
		}
		redeems = append(redeems, redeemOf(&c, chain, 0, unitsEach).Redeems...)
	}
	tx := w.transaction(&RedeemMany{redeems})
	b.ReportAllocs()
	for b.Loop() {
		st := newCommitted(w.state.memory)
		if got, err := Apply(st, people()["seller"].Creator, tx); err != nil || got.Code != OK {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/redeem")
}

func (w *world) declareForBench() payment.IntentionID {
	w.chains++
	tx := w.transaction(&Declare{Torrent: w.film, Units: 64, Margin: 100, MaxPrice: price})
	tx.Request[1] = byte(w.chains)
	tx.Request[2] = byte(w.chains >> 8)
	if got := w.apply("alice", tx); got.Code != OK {
		w.t.Fatal(got)
	}
	return payment.IntentionOf(w.ledger, people()["alice"].Account(), w.film, tx.Request)
}
