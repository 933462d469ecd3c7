package contract

import (
	"errors"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

func TestOverlayShowsItsWrites(t *testing.T) {
	st := newCommitted(memory{"a": {1}, "b": {2}})
	o := newOverlay(st)
	o.load("a", "c")
	o.set("a", []byte{9})
	o.set("c", []byte{3})
	o.delete("b")
	if o.get("a")[0] != 9 || o.get("c")[0] != 3 || o.has("b") || o.has("d") {
		t.Error("a write is not seen")
	}
	if len(st.wrote) != 0 {
		t.Errorf("written before the call succeeded: %q", st.wrote)
	}
	if wrote, err := o.commit(); err != nil || !wrote {
		t.Fatal(wrote, err)
	}
	st.commit()
	if st.memory["a"][0] != 9 || st.memory["c"][0] != 3 || st.memory["b"] != nil {
		t.Errorf("%v", st.memory)
	}
}

// An item that fails takes back what it wrote, and only that.
func TestFailedItemIsUndone(t *testing.T) {
	st := newCommitted(memory{"a": {1}})
	r := &run{overlay: newOverlay(st)}
	code := r.each(3, func(i int) Code {
		r.set("a", []byte{byte(10 + i)})
		r.set("b", []byte{byte(20 + i)})
		r.set("b", []byte{byte(30 + i)})
		r.moved(payment.Amount(i + 1))
		r.emit(payment.LedgerEvent{Index: uint32(i)})
		if i == 1 {
			return NoFunds
		}
		if i == 2 {
			r.delete("a")
			return NoCoins
		}
		return OK
	})
	if code != OK || r.result.Coins != 1 || len(r.result.Events) != 1 || r.get("a")[0] != 10 || r.get("b")[0] != 30 {
		t.Errorf("%v, %+v, %v %v", code, r.result, r.get("a"), r.get("b"))
	}
}

// broken is a State that fails at the n-th access.
type broken struct {
	memory
	left int
}

var errDisk = errors.New("disk")

func (b *broken) tick() error {
	b.left--
	if b.left < 0 {
		return errDisk
	}
	return nil
}

func (b *broken) Get(key string) ([]byte, error) {
	if err := b.tick(); err != nil {
		return nil, err
	}
	return b.memory.Get(key)
}

func (b *broken) GetMany(keys []string) ([][]byte, error) {
	if err := b.tick(); err != nil {
		return nil, err
	}
	return b.memory.GetMany(keys)
}

func (b *broken) Put(key string, value []byte) error {
	if err := b.tick(); err != nil {
		return err
	}
	return b.memory.Put(key, value)
}

func (b *broken) Delete(key string) error {
	if err := b.tick(); err != nil {
		return err
	}
	return b.memory.Delete(key)
}

// Whatever access of the backend fails, the caller is told, and no refusal or
// success is made up.
func TestEveryFailureOfTheStateIsAnError(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 20)
	for _, call := range []sent{
		{"alice", w.transaction(&Declare{Torrent: w.film, Units: 3, Margin: 100, MaxPrice: price})},
		{"seller", w.transaction(redeemOf(&c, chain, 0, 5))},
		{"alice", w.transaction(&ReleaseMany{[]Release{{w.closeOf(&c, "seller", 4), 0}}})},
		{"alice", w.transaction(&Close{i})},
		{"admin", w.transaction(&Revoke{people()["bob"].MSP, people()["bob"].SPKI})},
	} {
		for n := 0; ; n++ {
			st := &broken{copyOf(w.state.memory), n}
			got, err := Apply(st, people()[call.who].Creator, call.tx)
			if err == nil {
				if got.Code != OK || n < 3 {
					t.Errorf("%s: %v after %d accesses", call.tx.Args.Call(), got.Code, n)
				}
				break
			}
			if !errors.Is(err, errDisk) || n > 100 {
				t.Fatalf("%s at access %d: %v", call.tx.Args.Call(), n, err)
			}
		}
	}
}

// A row that this package did not write is damage, not a refusal.
func TestDamagedRowsAreErrors(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 20)
	for key, value := range w.state.memory {
		_ = value
		st := copyOf(w.state.memory)
		st[key] = append(st[key][:len(st[key]):len(st[key])], 0)
		_, err := Apply(newCommitted(st), people()["seller"].Creator, w.transaction(redeemOf(&c, chain, 0, 5)))
		needed := key == keyOrganisation("Org1MSP") || key == keyCommitment(c.ID())
		if needed != errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 5})
	i := intention{funds: 7, open: 1, closed: true}
	f.Add(i.append(nil))
	c := payment.Commitment{Links: 64, Price: 10, Epoch: 1, Expiry: 1}
	f.Add(commitment{&c, 20, endReleased, 5}.append(nil))
	f.Add(request{result: Result{Items: []Code{OK, NoFunds}}}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, row := range []interface {
			rowReader
			rowWriter
		}{
			new(intention), new(commitment), new(claim), new(request), new(organisation), new(authority),
			new(torrent), new(ledgerRow), new(units), new(coins), new(digest),
		} {
			in := cryptobyte.String(b)
			if row.read(&in) && in.Empty() {
				if again := row.append(nil); string(again) != string(b) {
					t.Fatalf("%T: %x became %x", row, b, again)
				}
			}
		}
	})
}
