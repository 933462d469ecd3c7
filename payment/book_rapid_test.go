package payment

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// seller is a naive model of one account's dealings with us: what really
// happened, in plain sums, against what the book and its swarms believe.
type seller struct {
	book      *Book
	disk      []byte // the book as it was kept last
	written   []byte // the book as it is being kept; nil: it is not
	now       time.Time
	commits   map[TorrentID]*Commitment
	links     map[TorrentID]uint32 // deepest link shown
	caps      map[TorrentID]uint32 // registered
	swarms    map[TorrentID]*lender
	served    uint64 // in truth, everywhere, ever; free resends not counted
	paid      uint64 // sum of min(link, cap)
	lost      uint64 // paid, and never to be served: its swarm was gone or crashed
	forgiven  uint64
	credit    Amount // as section 4 has it, without what forgiving cost
	forgiving Amount // what it cost
	halved    time.Time
}

// lender is the part of a swarm that serves one account, as swarm/pay.go does.
type lender struct {
	served, paid, lease uint64
}

const modelPrice = 10

func newSeller(floor uint64) *seller {
	s := &seller{
		book: NewBook(BookConfig{Me: me, Them: them, Price: modelPrice, Floor: floor}), now: today,
		commits: map[TorrentID]*Commitment{}, links: map[TorrentID]uint32{}, caps: map[TorrentID]uint32{},
		swarms: map[TorrentID]*lender{},
	}
	for i := range byte(3) {
		s.commits[TorrentID{i}] = &Commitment{Torrent: TorrentID{i}, Payer: them, Receiver: me, Links: MaxLinks, Price: modelPrice}
	}
	s.disk = s.book.Append(nil)
	return s
}

func (s *seller) window() uint64 {
	return min(max(s.book.config.Floor, uint64((s.credit-min(s.credit, s.forgiving))/(16*modelPrice))), 1024)
}

func (s *seller) pass(now time.Time) {
	s.land()
	s.book.Mark() // a node keeps its books every few seconds
	s.disk = s.book.Append(nil)
	s.now = now
	owed := s.book.Owed()
	s.book.Advance(now)
	s.keep()
	for s.credit > 0 && now.Sub(s.halved) >= 30*day {
		// What forgiving cost is halved with the credit it was taken from.
		rest := (s.credit - s.forgiving) / 2
		s.forgiving /= 2
		s.credit = rest + s.forgiving
		s.halved = s.halved.Add(30 * day)
	}
	written := owed - s.book.Owed()
	s.forgiven += written
	s.forgiving += Amount(written) * 16 * modelPrice
	if s.book.Defaulted() && s.book.Credit() == 0 {
		s.credit, s.forgiving = 0, 0
	}
}

// link shows a link or raises the cap; the truth grows by what both allow.
func (s *seller) link(id TorrentID, index, registered uint32) {
	before := min(s.links[id], s.caps[id])
	s.links[id], s.caps[id] = max(s.links[id], index), max(s.caps[id], registered)
	grew := uint64(min(s.links[id], s.caps[id]) - before)
	s.paid += grew
	if grew > 0 {
		if s.credit == s.forgiving {
			s.halved = s.now
			s.credit, s.forgiving = 0, 0
		}
		s.credit += Amount(grew) * modelPrice
	}
	got := s.book.Count(s.now, s.commits[id], s.links[id], s.caps[id])
	if l := s.swarms[id]; l != nil {
		l.paid += got.Paid
		l.lease -= got.Recalled
	} else {
		s.book.Paid(id, got.Paid)
	}
	s.keep()
}

// ahead is how many units of a swarm are paid and not served.
func (l *lender) ahead() uint64 { return l.paid - min(l.paid, l.served) }

// unpaid is how many it has served that no link paid.
func (l *lender) unpaid() uint64 { return l.served - min(l.paid, l.served) }

func (s *seller) serve(t *rapid.T, id TorrentID) {
	l := s.swarms[id]
	if l == nil {
		return
	}
	if l.served+1 > l.paid+l.lease {
		granted := s.book.Lease(id, 3)
		if granted > 0 && s.book.Leased()+s.book.Owed() > s.window() {
			t.Fatalf("lent %d: %d leased and %d owed, but the window is %d", granted, s.book.Leased(), s.book.Owed(), s.window())
		}
		l.lease += granted
		s.keep()
	}
	if l.served+1 > l.paid+l.lease {
		return
	}
	l.served++
	s.served++
}

// settle answers a pay_resume, honest or not, for a torrent.
func (s *seller) settle(id TorrentID, owed uint64) {
	before := s.book.Owed()
	s.book.Settle(id, owed)
	s.forgiven += before - s.book.Owed()
	s.forgiving += Amount(before-s.book.Owed()) * 16 * modelPrice
	s.keep()
}

// keep does what a node does before anybody hears what a book said.
func (s *seller) keep() {
	if s.book.Unsafe() {
		s.land()
		s.book.Mark()
		s.disk = s.book.Append(nil)
	}
}

// extend begins to keep leases that the window may cover.
func (s *seller) extend() {
	if s.land(); s.book.Extend() {
		s.written = s.book.Append(nil)
	}
}

// land ends what extend began.
func (s *seller) land() {
	if s.written != nil {
		s.disk, s.written = s.written, nil
		s.book.Kept(true)
	}
}

// fail has it end with an error of the disk.
func (s *seller) fail() {
	if s.written != nil {
		s.written = nil
		s.book.Kept(false)
	}
}

// crash starts the node again from what was on disk: the book as it was kept
// last, and all links.
func (s *seller) crash(t *rapid.T) {
	for _, l := range s.swarms {
		s.lost += l.ahead()
	}
	clear(s.swarms)
	before := s.aheadInTabs()
	if s.written != nil && rapid.Bool().Draw(t, "in time") {
		s.disk = s.written
	}
	s.written = nil
	b, err := ParseBook(s.now, s.book.config, s.disk)
	if err != nil {
		t.Fatal(err)
	}
	s.book = b
	for id, c := range s.commits {
		s.book.Recount(s.now, c, s.links[id], s.caps[id])
	}
	s.keep()
	if after := s.aheadInTabs(); after > before {
		t.Fatalf("%d units are paid ahead after a crash, %d before", after, before)
	} else {
		s.lost += before - after
	}
}

func (s *seller) aheadInTabs() (n uint64) {
	for _, tab := range s.book.tabs {
		n += tab.ahead
	}
	return n
}

func (s *seller) leave(id TorrentID) {
	if l := s.swarms[id]; l != nil {
		s.book.Leave(s.now, id, Standing{Ahead: l.ahead(), Unpaid: l.unpaid()})
		delete(s.swarms, id)
		s.keep()
	}
}

func (s *seller) join(id TorrentID) {
	if s.swarms[id] == nil {
		s.swarms[id] = &lender{paid: s.book.Join(id).Ahead}
		s.keep()
	}
}

// check is P1: what was served and is not paid is lent or owed, in the book's
// own view, whatever crashed; and what is lent stays within the window (serve).
func (s *seller) check(t *rapid.T) {
	lent, ahead := s.book.Leased()+s.book.Owed(), s.lost
	for _, l := range s.swarms {
		ahead += l.ahead()
	}
	ahead += s.aheadInTabs()
	if s.served+ahead > s.paid+s.forgiven+lent {
		t.Fatalf("%d served and %d paid ahead, %d paid, %d forgiven, but the book says %d are lent or owed",
			s.served, ahead, s.paid, s.forgiven, lent)
	}
	if got := s.book.Credit(); got > s.credit-min(s.credit, s.forgiving) {
		t.Fatalf("credit %d, the model has %d - %d", got, s.credit, s.forgiving)
	}
	for id, l := range s.swarms {
		if tab := s.book.tabs[id]; l.lease > 0 && (tab == nil || tab.leased != l.lease) {
			t.Fatalf("torrent %v: the swarm has a lease of %d, the book %+v", id, l.lease, tab)
		}
	}
}

// P1, P10 and the decay of credit, for every order of events over three
// torrents, crashes and lies among them.
func TestBookLendsNoMoreThanTheWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSeller(rapid.Uint64Range(0, 2).Draw(t, "floor"))
		torrent := func() TorrentID { return TorrentID{rapid.ByteRange(0, 2).Draw(t, "torrent")} }
		actions := map[string]func(t *rapid.T){
			"link": func(t *rapid.T) {
				id := torrent()
				s.link(id, s.links[id]+rapid.Uint32Range(0, 200).Draw(t, "more"), s.caps[id])
			},
			"cap": func(t *rapid.T) {
				id := torrent()
				s.link(id, s.links[id], s.caps[id]+rapid.Uint32Range(0, 300).Draw(t, "more"))
			},
			"pay": func(t *rapid.T) {
				id, n := torrent(), 16*rapid.Uint32Range(1, 20).Draw(t, "links")
				s.link(id, s.links[id]+n, s.caps[id]+n)
			},
			"serve": func(t *rapid.T) { s.serve(t, torrent()) },
			"serves": func(t *rapid.T) {
				id := torrent()
				s.join(id)
				for range rapid.SampledFrom([]int{5, 20, 2000}).Draw(t, "units") {
					s.serve(t, id)
				}
			},
			"join":   func(*rapid.T) { s.join(torrent()) },
			"leave":  func(*rapid.T) { s.leave(torrent()) },
			"hold":   func(*rapid.T) { s.book.Hold(s.now, torrent()) },
			"crash":  func(t *rapid.T) { s.crash(t) },
			"extend": func(*rapid.T) { s.extend() },
			"land":   func(*rapid.T) { s.land() },
			"grow": func(t *rapid.T) { // and use all of it
				id, n := torrent(), 16*rapid.Uint32Range(1, 20).Draw(t, "links")
				s.join(id)
				s.serve(t, id)
				s.link(id, s.links[id]+n, s.caps[id]+n)
				s.extend()
				s.land()
				for range 50 {
					s.serve(t, id)
				}
			},
			"fail":   func(*rapid.T) { s.fail() },
			"settle": func(t *rapid.T) { s.settle(torrent(), rapid.Uint64Range(0, 9).Draw(t, "owed")) },
			"wait": func(t *rapid.T) {
				s.pass(s.now.Add(time.Duration(rapid.Int64Range(0, int64(40*day)).Draw(t, "time"))))
			},
			"minute": func(*rapid.T) { s.pass(s.now.Add(time.Minute)) },
			"":       func(t *rapid.T) { s.check(t) },
		}
		for range 20 { // six hundred events or so
			t.Repeat(actions)
		}
	})
}

// P2: links released never exceed verified units and the allowance, over all
