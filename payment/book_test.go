package payment

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

var (
	today  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	me     = Account{1}
	them   = Account{2}
	film   = TorrentID{3}
	record = TorrentID{4}
)

const day = 24 * time.Hour

func testBook(floor uint64) *Book {
	return NewBook(BookConfig{Me: me, Them: them, Price: 10, Floor: floor})
}

// promise is a commitment of them to me.
func promise(torrent TorrentID, slot uint32) *Commitment {
	return &Commitment{Torrent: torrent, Payer: them, Receiver: me, Slot: slot, Links: MaxLinks, Price: 10}
}

// customer returns a book with a window of so many units.
func customer(window uint32) *Book {
	b := testBook(0)
	b.Count(today, promise(record, 99), 16*window, MaxLinks)
	return b
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		credit, price Amount
		floor, want   uint64
	}{
		{0, 10, 0, 0},
		{0, 10, 1, 1},
		{159, 10, 0, 0},
		{160, 10, 0, 1},
		{160, 10, 1, 1},
		{320, 10, 1, 2},
		{160 * 1023, 10, 0, 1023},
		{160 * 5000, 10, 0, 1024},
		{0, 10, 5000, 1024},
		{math.MaxUint64, 1, 0, 1024},
		{math.MaxUint64, math.MaxUint64, 0, 0}, // 16 x price does not fit
		{math.MaxUint64, 0, 0, 0},              // price 0 earns nothing
	} {
		b := testBook(c.floor)
		b.credit = c.credit
		b.SetPrice(c.price)
		if got := b.Window(); got != c.want {
			t.Errorf("credit %d, price %d, floor %d: window %d, want %d", c.credit, c.price, c.floor, got, c.want)
		}
	}
}

// A stranger pays ahead until it has paid sixteen units; then one is lent.
func TestStrangerBecomesCustomer(t *testing.T) {
	b, c := testBook(0), promise(film, 0)
	for i := uint32(1); i <= 16; i++ {
		if got := b.Lease(film, 1); got != 0 {
			t.Fatalf("a stranger was lent %d units after %d links", got, i-1)
		}
		if got := b.Count(today, c, i, 64); got.Paid != 1 || got.Recalled != 0 || got.Window != uint64(i)/16 {
			t.Fatalf("link %d: %+v", i, got)
		}
	}
	if got := b.Lease(film, 5); got != 1 {
		t.Errorf("after 16 links %d units are lent", got)
	}
	if got := b.Lease(record, 5); got != 0 {
		t.Errorf("and %d more in another torrent", got)
	}
	b.Return(film, 1)
	if got := b.Lease(record, 5); got != 1 {
		t.Errorf("what came back was lent again as %d", got)
	}
}

// Only links of registered caps count, and each once.
func TestCountIsAbsolute(t *testing.T) {
	b, c := testBook(0), promise(film, 0)
	for _, step := range []struct{ index, registeredCap, want uint32 }{
		{5, 0, 0}, {5, 3, 3}, {5, 3, 0}, {5, 64, 2}, {4, 64, 0}, {5, 64, 0}, {70, 64, 59}, {70, 128, 6},
	} {
		if got := b.Count(today, c, step.index, step.registeredCap); got.Paid != uint64(step.want) {
			t.Errorf("index %d under cap %d: %d units, want %d", step.index, step.registeredCap, got.Paid, step.want)
		}
	}
	if b.Credit() != 700 || b.Counts(c.ID()) != 70 {
		t.Errorf("credit %d, counted %d", b.Credit(), b.Counts(c.ID()))
	}
	b.Forget(c.ID())
	if b.Counts(c.ID()) != 0 {
		t.Error("not forgotten")
	}
	for what, spoil := range map[string]func(c *Commitment){
		"to somebody else":   func(c *Commitment) { c.Receiver = Account{9} },
		"from somebody else": func(c *Commitment) { c.Payer = Account{9} },
		"price wraps":        func(c *Commitment) { c.Price = math.MaxUint64 },
	} {
		c := promise(film, 1)
		spoil(c)
		before := b.Credit()
		b.Count(today, c, 10, 10)
		if b.Credit() != before {
			t.Errorf("%s: earned credit", what)
		}
	}
}

func TestCreditHalvesAndDebtDoesNot(t *testing.T) {
	b := customer(4)
	for _, step := range []struct {
		after time.Duration
		want  Amount
	}{{-day, 640}, {time.Hour, 640}} {
		b.Advance(today.Add(step.after))
		if b.Credit() != step.want {
			t.Errorf("after %s credit %d", step.after, b.Credit())
		}
	}
	b.Advance(today.Add(30*day - time.Second))
	if b.Credit() != 640 {
		t.Errorf("just before 30 days credit %d", b.Credit())
	}
	b.Advance(today.Add(60 * day))
	if b.Credit() != 160 {
		t.Errorf("after 60 days credit %d", b.Credit())
	}
	b.Lease(film, 1)
	b.Hold(today.Add(60*day), film)
	b.Advance(today.Add(3000 * day))
	b.Leave(today.Add(3000*day), film, Standing{Unpaid: 1})
	if b.Credit() != 0 || b.Owed() != 1 {
		t.Errorf("after years credit %d, debt %d", b.Credit(), b.Owed())
	}
}

func TestDefaults(t *testing.T) {
	for what, c := range map[string]struct {
		happen func(b *Book)
		at     time.Duration
	}{
		"hold": {func(b *Book) { b.Hold(today, film) }, 10 * time.Minute},
		"away": {func(b *Book) { b.Leave(today, film, Standing{Unpaid: 3}); b.credit = 160 }, day},
	} {
		b := customer(4)
		b.Lease(film, 3)
		c.happen(b)
		if got := b.Deadline(); !got.Equal(today.Add(c.at)) {
			t.Errorf("%s: deadline %s", what, got)
		}
		b.Advance(today.Add(c.at - time.Second))
		if b.Defaulted() {
			t.Errorf("%s: too early", what)
		}
		b.Advance(today.Add(c.at))
		if !b.Defaulted() || b.Credit() != 0 || b.Owed()+b.Leased() == 0 {
			t.Errorf("%s: defaulted %v, credit %d, debt %d", what, b.Defaulted(), b.Credit(), b.Owed())
		}
		if b.Lease(record, 1) != 0 {
			t.Errorf("%s: still lends", what)
		}
	}
}

// A link in time ends a hold; paying in time ends the 24 hours.
func TestNoDefault(t *testing.T) {
	b, c := customer(4), promise(film, 0)
	b.Lease(film, 3)
	b.Hold(today, film)
	b.Count(today.Add(9*time.Minute), c, 1, 64)
	b.Leave(today.Add(9*time.Minute), film, Standing{Unpaid: 2})
	b.Join(film)
	b.Count(today.Add(day), c, 3, 64)
	b.Advance(today.Add(25 * day))
	if b.Defaulted() {
		t.Error("a default")
	}
	empty := testBook(0)
	empty.Hold(today, film)
	if empty.Advance(today); empty.Defaulted() || !empty.Deadline().IsZero() {
		t.Error("a default of somebody who owes nothing")
	}
}

// A default is not forgotten because it is written down.
func TestDefaultIsKept(t *testing.T) {
	b := customer(4)
	b.Lease(film, 3)
	b.Hold(today, film)
	b.Advance(today.Add(holdLimit))
	if b.Mark(); !b.Defaulted() {
		t.Error("it is forgotten when the book is kept")
	}
}

// A hold is about something that is lent or owed.
func TestHoldOfNothing(t *testing.T) {
	b := customer(64)
	b.Lease(film, 5)
	b.Mark()
	b.Return(film, 5)
	b.Hold(today, film) // the window is another torrent's
	b.Lease(film, 5)
	if b.Advance(today.Add(holdLimit)); b.Defaulted() {
		t.Error("a default of somebody who had nothing when it was held")
	}
	b.Hold(today.Add(holdLimit), film)
	b.Return(film, 5)
	b.Lease(film, 5)
	if b.Advance(today.Add(3 * holdLimit)); b.Defaulted() {
		t.Error("a default for what was paid since")
	}
}

// Whoever pays, however little at a time, is lent again, all of the window in the
// end; though a lease does not grow by crumbs.
func TestLeaseGrows(t *testing.T) {
	for _, window := range []uint32{1, 8, 16, 64, 100, 1024} {
		b, c := customer(window), promise(film, 0)
		b.Lease(film, MaxWindow)
		b.Mark()
		b.Leave(today, film, Standing{Unpaid: uint64(window)})
		b.Join(film)
		for link := uint32(1); link <= 2; link++ {
			b.Count(today, c, link, MaxLinks)
			if full := b.Leased()+b.Owed() == b.Window(); b.Lease(film, 64) == 0 && !full {
				t.Errorf("a window of %d: link %d is answered by nothing", window, link)
			}
			b.Mark()
		}
		for range 40 { // as a swarm asks
			if b.Lease(film, 64); b.Unsafe() {
				b.Mark()
			}
		}
		if got := b.Leased() + b.Owed(); got != b.Window() {
			t.Errorf("a window of %d: %d are lent or owed in the end", b.Window(), got)
		}
	}
	b := customer(64)
	b.Lease(film, 64)
	b.Mark()
	b.Return(film, 10)
	b.Count(today, promise(film, 0), 64, MaxLinks) // a window of 68
	if got := b.Lease(film, 64); got != 10 || b.Unsafe() {
		t.Errorf("lent %d, unsafe %v, want the 10 that are kept already", got, b.Unsafe())
	}
}

// Debts are paid first, in whatever torrent and commitment the link comes.
func TestDebtIsPaidFirst(t *testing.T) {
	b, c := customer(4), promise(record, 0)
	b.Lease(film, 3)
	b.Leave(today, film, Standing{Unpaid: 3})
	b.fail()
	if got := b.Count(today, c, 2, 64); got.Paid != 0 || b.Owed() != 1 || !b.Defaulted() {
		t.Errorf("two links: %+v, %d owed", got, b.Owed())
	}
	if got := b.Join(film).Unpaid; got != 1 {
		t.Errorf("%d unpaid, want 1", got)
	}
	if got := b.Count(today, c, 5, 64); got.Paid != 2 || b.Owed() != 0 || b.Defaulted() {
		t.Errorf("three links: %+v, %d owed, defaulted %v", got, b.Owed(), b.Defaulted())
	}
}

func TestWhatWasPaidAheadIsServedLater(t *testing.T) {
	b := testBook(0)
	b.Count(today, promise(film, 0), 1, 64)
	b.Leave(today, film, Standing{Ahead: 1})
	b = must[*Book](t)(ParseBook(today, b.config, b.Append(nil)))
	if got := b.Join(film); got.Ahead != 1 {
		t.Errorf("%+v", got)
	}
	if got := b.Join(film); got.Ahead != 0 {
		t.Errorf("twice: %+v", got)
	}
}

// After a default the leases of running swarms shrink with each link.
func TestRecall(t *testing.T) {
	b, c := customer(4), promise(film, 0)
	b.Lease(film, 4)
	b.Hold(today, film)
	b.Advance(today.Add(time.Hour))
	if got := b.Recall(film); got != 4 {
		t.Errorf("recalls %d", got)
	}
	if got := b.Count(today, c, 3, 64); got != (Counted{Paid: 3, Recalled: 3, Window: 1}) || b.Leased() != 1 {
		t.Errorf("%+v, %d leased", got, b.Leased())
	}
	if b.Recall(record) != 0 {
		t.Error("recalls what was never lent")
	}
}

// What was leased when the node died is debt until the payer says what it has;
// what it disclaims costs credit, and nothing is forgiven without.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		owed, debt, window uint64
	}{{3, 3, 4}, {9, 3, 4}, {1, 1, 2}, {0, 0, 1}} {
		b := customer(4)
		b.Lease(film, 3)
		b = must[*Book](t)(ParseBook(today, b.config, b.Append(nil)))
		if b.Owed() != 3 || b.Leased() != 0 || b.Lease(record, 9) != 1 {
			t.Fatalf("after the crash %d owed, %d leased", b.Owed(), b.Leased())
		}
		b.Settle(film, c.owed)
		if b.Owed() != c.debt || b.Window() != c.window {
			t.Errorf("owed %d: debt %d, window %d", c.owed, b.Owed(), b.Window())
		}
		b.Settle(film, 0)
		if b.Owed() != c.debt {
			t.Errorf("owed %d: settled twice", c.owed)
		}
	}
	b := testBook(1)
	b.Lease(film, 1)
	b = must[*Book](t)(ParseBook(today, b.config, b.Append(nil)))
	if b.Settle(film, 0); b.Owed() != 1 {
		t.Error("forgiven without credit: each crash would be a free unit")
	}
}

func TestResends(t *testing.T) {
	b := testBook(0)
	for range 16 {
		if !b.Resend(today) {
			t.Fatal("refused")
		}
	}
	if b.Resend(today.Add(day-1)) || !b.Resend(today.Add(day)) {
		t.Error("not 16 a day")
	}
}

// Units that were lost on their way are known by number until they are paid, in
// the order in which they were served, over restarts too.
func TestLostUnitsAreKnown(t *testing.T) {
	b := customer(8)
	b.Lease(film, 5)
	b.Leave(today, film, Standing{Unpaid: 5, Units: []uint32{10, 11, 12, 13, 14}})
	b = must[*Book](t)(ParseBook(today, b.config, b.Append(nil)))
	if left := b.Join(film); left.Unpaid != 5 || !slices.Equal(left.Units, []uint32{10, 11, 12, 13, 14}) {
		t.Errorf("after a restart: %+v", left)
	}
	b.Count(today, promise(film, 1), 2, 2)
	if left := b.Join(film); left.Unpaid != 3 || !slices.Equal(left.Units, []uint32{12, 13, 14}) {
		t.Errorf("two were paid: %+v", left)
	}
	b.Lease(film, 2)
	b.Leave(today, film, Standing{Unpaid: 1, Units: []uint32{12, 20}}) // more than it says it served
	if left := b.Join(film); left.Unpaid != 4 || !slices.Equal(left.Units, []uint32{12, 13, 14, 20}) {
		t.Errorf("one more was lost: %+v", left)
	}
}

func TestRepeats(t *testing.T) {
	b := customer(3)
	if n := b.Repeat(today, 2) + b.Repeat(today, 100); n != 16*3 {
		t.Errorf("%d repeats with a window of 3, want 16 windows", n)
	}
	if b.Repeat(today.Add(day-1), 1) != 0 || b.Repeat(today.Add(day), 1) != 1 {
		t.Error("not by the day")
	}
	if b := testBook(0); b.Repeat(today, 1) != 0 {
		t.Error("somebody who is lent nothing has nothing to be repeated")
	}
}

// Books of older versions are read: nobody's debts are forgotten by an update,
// and those of which no age is known are as old as the reading.
func TestBooksOfOlderVersions(t *testing.T) {
	b := customer(4)
	b.Lease(film, 2)
	b.Leave(today, film, Standing{Unpaid: 2})
	now := b.Append(nil)
	const (
		repeats = 1 + 32 + 8 + 8 + 1 + 1 // where they are
		one     = 1 + 8 + 8              // one age, behind which are no units' numbers
	)
	rest := len(now) - 4 - one
	age := now[rest+1 : rest+9]
	first := slices.Concat([]byte{1}, now[1:repeats], now[repeats+8:rest], age)
	second := slices.Concat([]byte{2}, now[1:rest], age, now[len(now)-4:])
	for _, old := range [][]byte{first, second} {
		read := must[*Book](t)(ParseBook(today.Add(time.Hour), b.config, old))
		if again := read.Append(nil); !bytes.Equal(again, now) || read.Unsafe() {
			t.Errorf("%x became %x", old, again)
		}
	}
	copy(second[rest:], make([]byte, 8)) // the connection was there
	read := must[*Book](t)(ParseBook(today.Add(time.Hour), b.config, second))
	if due := read.Deadline(); !due.Equal(today.Add(time.Hour+day)) || !read.Unsafe() {
		t.Errorf("due %s, unsafe %v", due, read.Unsafe())
	}
}

// One account cannot make us remember without bound (P9).
func TestBookIsBounded(t *testing.T) {
	b := customer(1024)
	for i := range uint32(2 * maxTabs) {
		id := TorrentID{byte(i), byte(i >> 8), 9}
		b.Lease(id, 1)
		b.Hold(today, id)
	}
	for i := range uint32(2 * maxCommitments) {
		b.Count(today, promise(film, i), 1, 1)
	}
	if len(b.tabs) > maxTabs || len(b.counted) > maxCommitments {
		t.Errorf("%d torrents, %d commitments", len(b.tabs), len(b.counted))
	}
	b.Leave(today, TorrentID{1, 2, 3, 4}, Standing{Ahead: 1})
	if n := len(b.Append(nil)); n > 1<<20 {
		t.Errorf("%d bytes on disk", n)
	}
}

func TestParseBookRefuses(t *testing.T) {
	b := customer(4)
	b.Lease(film, 2)
	b.Leave(today, film, Standing{Unpaid: 2})
	good := b.Append(nil)
	if again := must[*Book](t)(ParseBook(today, b.config, good)).Append(nil); !bytes.Equal(again, good) {
		t.Errorf("%x became %x", good, again)
	}
	for i := range good {
		if _, err := ParseBook(today, b.config, good[:i]); !errors.Is(err, ErrBook) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
	if _, err := ParseBook(today, b.config, append(good, 0)); !errors.Is(err, ErrBook) {
		t.Errorf("a byte more: %v", err)
	}
	other := b.config
	other.Them = Account{9}
	if _, err := ParseBook(today, other, good); !errors.Is(err, ErrBook) {
		t.Errorf("another account's: %v", err)
	}
}

func FuzzParseBook(f *testing.F) {
	b := customer(4)
	b.Lease(film, 2)
	f.Add(b.Append(nil))
	b.Leave(today, film, Standing{Unpaid: 2})
	f.Add(b.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBook(today, BookConfig{Me: me, Them: them, Price: 10}, data)
		if err != nil {
			return
		}
		b.Advance(today)
		b.Lease(film, 10)
		b.Settle(film, 1)
		b.Count(today, promise(film, 0), 10, 10)
		b.Leave(today, film, b.Join(film))
		if _, err := ParseBook(today, b.config, b.Append(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	book, c := testBook(0), promise(film, 0)
	book.Lease(film, 1)
	b.ReportAllocs()
	for i := uint32(1); b.Loop(); i++ {
		book.Count(today, c, i%MaxLinks, MaxLinks)
	}
}

// A lease grows with the window while its record is written, and needs no other
// record then.
func TestLeaseGrowsIntoItsRecord(t *testing.T) {
	b, c := customer(64), promise(film, 0)
	b.Lease(film, 64)
	b.Mark()
	b.Count(today, c, 64, MaxLinks) // a window of 68
	if b.Extend() {
		t.Error("4 units more than 64 are written")
	}
	b.Count(today, c, 128, MaxLinks) // 72
	if !b.Extend() || b.Unsafe() {
		t.Fatal("8 units more than 64 are not")
	}
	b.Return(film, 10)
	if got := b.Lease(film, 64); got != 10 || b.Unsafe() {
		t.Errorf("lent %d while the record is written, unsafe %v, want the 10 that are kept", got, b.Unsafe())
	}
	b.Kept(true)
	if got := b.Lease(film, 64); got != 8 || b.Unsafe() {
		t.Errorf("lent %d, unsafe %v, want the 8 that are written by now", got, b.Unsafe())
	}
	b.Count(today, c, 384, MaxLinks) // 88
	if !b.Extend() {
		t.Fatal("16 units more than 72 are not written")
	}
	b.Kept(false)
	if got := b.Lease(film, 64); got != 16 || !b.Unsafe() {
		t.Errorf("lent %d, unsafe %v, want 16 that no record has", got, b.Unsafe())
	}
}

// A record that could not be written makes nothing safe: leases wait for the next
// one.
func TestUnwrittenRecords(t *testing.T) {
	b := customer(64)
	b.Lease(film, 20)
	b.Mark()
	b.Unmark()
	if b.Return(film, 20); b.Lease(film, 5) != 5 || !b.Unsafe() {
		t.Error("a lease within a record that is not on disk is safe")
	}
	if b.Mark(); b.Unsafe() {
		t.Error("the next record makes it no safer")
	}
}
