package payment

import (
	"iter"
	"maps"
	"math"
	"slices"
	"time"
)

// The rules of lending (section 4).
const (
	// MaxWindow is the most that anybody is lent, in units: 16 MiB.
	MaxWindow = 16 << 20 / UnitBytes
	// creditPerUnit is how often the price of a unit must have been earned
	// before one is lent: a thief has paid 16 times what it can take.
	creditPerUnit = 16
	// creditHalves is how long credit takes to lose half of its worth.
	creditHalves = 30 * 24 * time.Hour
	// holdLimit is how long a debt may go without a link on hold, and awayLimit
	// how long it may last at all after the connection in which it arose: then
	// credit pays for it, or it is a default too.
	holdLimit = 10 * time.Minute
	awayLimit = 24 * time.Hour
	// leaseGrowth is the least part, of what is kept, by which a lease grows.
	leaseGrowth = 8
	// markAhead is the least by which leases may grow before they are written
	// down again.
	markAhead = 16
	// maxResends is how many charged, unpaid units are made good by others, a
	// day; maxRepeats how often, in windows a day, they are sent again
	// themselves: that gives nobody anything twice, and costs but the upload.
	maxResends = 16
	maxRepeats = 16
	// What one account may make this node remember.
	maxTabs        = 256
	maxCommitments = 4096
)

// BookConfig holds what a seller decides.
type BookConfig struct {
	Me    Account // the seller, whose book this is
	Them  Account // the account that the book is about
	Price Amount  // of a unit, in the current epoch
	Floor uint64  // units lent to anybody, strangers too; 0: they pay ahead
}

// Book holds what all torrents and connections of one account have in common:
// its debt and its credit. Swarms serve on credit only what the book leased
// them; the sum of leases and debts
// stays within Window. Nothing resets a book but payment: it belongs to a key,
// not to an address.
//
// Append writes a book down and ParseBook reads it. A lease must be on disk
// before it is acted upon: Unsafe says when it is not yet. Then a crash at any
// instruction lends nobody more than the window. One goroutine owns a book.
type Book struct {
	config    BookConfig
	credit    Amount    // coins earned from them, halved now and then
	halved    time.Time // when it was last
	defaulted bool
	resends   int
	repeats   uint64
	resendDay time.Time // when the counts of resends and repeats began
	counted   map[CommitmentID]uint32
	tabs      map[TorrentID]*tab
	unsafe    bool // what the record on disk would get wrong was changed
}

// tab is what a book knows about one torrent. All counts are units.
type tab struct {
	leased uint64    // lent to the torrent's swarm, used or not
	safe   uint64    // leased and owed at most, by the record on disk
	begun  uint64    // the same by a record that is being written; 0: none is
	debt   uint64    // served, not paid, and no swarm looks after it
	doubt  uint64    // leased when this node died: served perhaps
	ahead  uint64    // paid by them, not served, and no swarm looks after it
	units  []uint32  // the numbers of those in debt, oldest first; of older debts they are not known
	hold   time.Time // since when their next request waits for a link; zero: it does not
	ages   ages      // of what is owed: their sum
}

func (t *tab) owed() uint64 { return t.debt + t.doubt }

// empty reports whether a tab says nothing, nor does its record on disk.
func (t *tab) empty() bool { return t.leased+t.owed()+t.ahead+t.safe+t.begun == 0 }

// NewBook returns the book of an account that was never met.
func NewBook(config BookConfig) *Book {
	return &Book{config: config, counted: map[CommitmentID]uint32{}, tabs: map[TorrentID]*tab{}}
}

// SetPrice follows the ledger into a new epoch. Credit is in coins, so the
// window moves against the price.
func (b *Book) SetPrice(price Amount) { b.config.Price = price }

// Window returns W, the units that may be served and unpaid at once:
// min(max(floor, credit / (16 x price)), MaxWindow).
func (b *Book) Window() uint64 {
	return min(max(b.config.Floor, b.earned()), MaxWindow)
}

// earned is the part of the window that credit gives.
func (b *Book) earned() uint64 {
	cost, ok := b.config.Price.Mul(creditPerUnit)
	if cost == 0 || !ok {
		return 0 // at price 0 nothing is earned, and links cost nothing
	}
	return uint64(b.credit / cost)
}

// Credit returns the coins earned from the account, after halvings.
func (b *Book) Credit() Amount { return b.credit }

// Defaulted reports whether the account left a debt unpaid for too long, more
// than its credit was worth or on hold, and has not paid it since.
func (b *Book) Defaulted() bool { return b.defaulted }

// Owed returns the units served or perhaps served, not paid, and looked after
// by no swarm. Links pay them before anything new.
func (b *Book) Owed() uint64 {
	var n uint64
	for _, t := range b.tabs {
		n += t.owed()
	}
	return n
}

// OwedIn returns those of one torrent.
func (b *Book) OwedIn(torrent TorrentID) uint64 {
	if t := b.tabs[torrent]; t != nil {
		return t.owed()
	}
	return 0
}

// Leased returns the units lent to all swarms together.
func (b *Book) Leased() uint64 {
	var n uint64
	for _, t := range b.tabs {
		n += t.leased
	}
	return n
}

// Lease lends up to want units to the torrent's swarm and returns how many.
// They count as lent until Return, Count or Leave. As long as there is something
// left of what is kept on disk, a lease grows beyond that by an eighth of it or not
// at all, since each time the swarm waits for the disk; and not at all while Extend
// has more of it written.
func (b *Book) Lease(torrent TorrentID, want uint64) uint64 {
	used := b.Owed() + b.Leased()
	window := b.Window()
	if used >= window || want == 0 {
		return 0
	}
	t := b.tab(torrent)
	if t == nil {
		return 0
	}
	granted, kept := min(want, window-used), t.safe-min(t.safe, t.leased+t.owed())
	if kept > 0 && granted > kept && (granted-kept < t.safe/leaseGrowth || t.begun > 0) {
		granted = kept
	}
	if t.leased+t.owed() == 0 {
		t.hold = time.Time{} // it is for something else
	}
	t.leased += granted
	return granted
}

// Room returns how many units the torrent's swarm may have unpaid at once: its
// lease, and what it can still be lent.
func (b *Book) Room(torrent TorrentID) uint64 {
	var leased uint64
	if t := b.tabs[torrent]; t != nil {
		leased = t.leased
	}
	used, window := b.Owed()+b.Leased(), b.Window()
	return leased + window - min(used, window)
}

// Unsafe reports whether a crash would lend more than the window, or give
// something twice, because of what was changed since Mark. Then Mark, and keep
// the book, before anybody hears of the change.
func (b *Book) Unsafe() bool {
	if b.unsafe {
		return true
	}
	for _, t := range b.tabs {
		if t.leased+t.owed() > t.safe {
			return true
		}
	}
	return false
}

// Mark begins to keep the book: the next Append writes down leases that are
// somewhat larger, within the window, so that those that grow are not kept one
// by one. After a crash what is marked is in doubt.
func (b *Book) Mark() {
	b.unsafe = false
	for torrent, mark := range b.marks() {
		t := b.tabs[torrent]
		t.safe, t.begun = mark, 0
		b.forget(torrent)
	}
}

// Unmark tells that the record of Mark is not on disk, and will not be.
func (b *Book) Unmark() { b.unsafe = true }

// marks yields what of each torrent is to be written as lent or owed.
func (b *Book) marks() iter.Seq2[TorrentID, uint64] {
	return func(yield func(TorrentID, uint64) bool) {
		room := b.Window()
		room -= min(room, b.Owed()+b.Leased())
		for _, torrent := range b.torrents(TorrentID{}) {
			t := b.tabs[torrent]
			more := min(t.leased/4+markAhead, room)
			if t.leased == 0 {
				more = 0
			}
			room -= more
			if !yield(torrent, t.leased+t.owed()+more) {
				return
			}
		}
	}
}

// Extend reports whether the window has grown so far beyond what is kept that a
// new record is worth its writing: Append gives it. Nobody waits for it: leases
// grow into it after Kept. There is no Mark meanwhile.
func (b *Book) Extend() bool {
	worth := false
	for torrent, mark := range b.marks() {
		safe := b.tabs[torrent].safe
		worth = worth || mark >= safe+max(1, safe/leaseGrowth)
	}
	if worth {
		for torrent, mark := range b.marks() {
			t := b.tabs[torrent]
			t.begun = max(t.safe, mark)
		}
	}
	return worth
}

// Kept tells that the record of Extend is on disk; or not, and will not be.
func (b *Book) Kept(onDisk bool) {
	for _, torrent := range b.torrents(TorrentID{}) {
		t := b.tabs[torrent]
		if onDisk {
			t.safe = max(t.safe, t.begun)
		}
		t.begun = 0
		b.forget(torrent)
	}
}

// Return takes back units that the swarm has not served on credit, or that
// were paid since.
func (b *Book) Return(torrent TorrentID, units uint64) {
	if t := b.tabs[torrent]; t != nil {
		t.leased -= min(units, t.leased)
		b.tidy(torrent)
	}
}

// Standing is what one torrent's swarm hands to the book when its connection
// ends, and gets back at the next one.
type Standing struct {
	// Ahead is how many units were paid for and not served yet.
	Ahead uint64
	// Unpaid is how many units were served that no link paid. So many may be
	// served again free, as often as Resend and Repeat allow: the first may be
	// lost. Units are their numbers, as far as known, oldest first.
	Unpaid uint64
	Units  []uint32
}

// Join tells that a swarm has a connection to the account again, and hands it
// what was left over. The unpaid units stay debt, which Count pays, and are no
// younger for it.
func (b *Book) Join(torrent TorrentID) Standing {
	t := b.tabs[torrent]
	if t == nil {
		return Standing{}
	}
	s := Standing{t.ahead, t.owed(), slices.Clone(t.units)}
	b.unsafe = b.unsafe || t.ahead > 0 // it is served once
	t.ahead = 0
	b.tidy(torrent)
	return s
}

// Leave ends a swarm's lease with the connection. What it served unpaid
// becomes debt, since now or since the hold that it was on; a link that comes
// later pays it.
func (b *Book) Leave(now time.Time, torrent TorrentID, s Standing) {
	t := b.tab(torrent)
	if t == nil {
		return // then it had no lease either
	}
	lost := min(s.Unpaid, t.leased)
	since := now
	if !t.hold.IsZero() {
		since = t.hold
	}
	t.debt += lost
	t.ages.add(since, lost)
	t.units = newest(append(t.units, newest(s.Units, lost)...), MaxWindow)
	t.ahead += s.Ahead
	t.leased, t.hold = 0, time.Time{}
	b.tidy(torrent)
}

// Recall returns how many units of the torrent's lease the window no longer
// covers, after a default, a halving or a new price. The swarm gives them back
// with Return before it serves on credit again.
func (b *Book) Recall(torrent TorrentID) uint64 {
	t := b.tabs[torrent]
	if t == nil {
		return 0
	}
	used := b.Owed() + b.Leased()
	return min(used-min(used, b.Window()), t.leased)
}

// Hold tells that the account asked for more than it may have, and has units
// to pay. Ten minutes later, without a link, it is in default.
func (b *Book) Hold(now time.Time, torrent TorrentID) {
	if t := b.tabs[torrent]; t != nil && t.hold.IsZero() && t.leased+t.owed() > 0 {
		t.hold = now
	}
}

// newest are the last of some units, at most n.
func newest(units []uint32, n uint64) []uint32 {
	return units[uint64(len(units))-min(n, uint64(len(units))):]
}

// Resend reports whether one more charged, unpaid unit may be made good by
// another, free.
func (b *Book) Resend(now time.Time) bool {
	b.newDay(now)
	if b.resends >= maxResends {
		return false
	}
	b.resends++
	b.unsafe = true
	return true
}

// Repeat returns how many charged, unpaid units, of n, may be sent again free:
// those same units, by number.
func (b *Book) Repeat(now time.Time, n uint64) uint64 {
	b.newDay(now)
	most := maxRepeats * b.Window()
	n = min(n, most-min(most, b.repeats))
	b.repeats += n
	return n
}

func (b *Book) newDay(now time.Time) {
	if now.Sub(b.resendDay) >= 24*time.Hour {
		b.resends, b.repeats, b.resendDay = 0, 0, now
	}
}

// Settle ends the doubt about what was served before this node died. owed is
// what the account's pay_resume says it has from us and has not paid, in this
// torrent. What it disclaims is forgiven at 16 times its price in credit, as
// far as there is credit, so that a lie gains nothing; the rest is debt.
func (b *Book) Settle(torrent TorrentID, owed uint64) {
	t := b.tabs[torrent]
	if t == nil || t.doubt == 0 {
		return
	}
	admitted := min(t.doubt, owed-min(owed, t.debt))
	forgiven := min(t.doubt-admitted, b.earned())
	// earned says that this fits and that there is so much credit.
	cost, _ := b.config.Price.Mul(creditPerUnit * forgiven)
	b.credit -= cost
	t.debt += t.doubt - forgiven
	t.doubt = 0
	t.ages.pay(forgiven)
	t.repaid(forgiven)
	b.unsafe = b.unsafe || forgiven > 0
	b.tidy(torrent)
}

// tab returns the torrent's tab, a new one if need be, or nil if the account
// has too many already.
func (b *Book) tab(torrent TorrentID) *tab {
	t := b.tabs[torrent]
	if t == nil && len(b.tabs) < maxTabs {
		t = &tab{}
		b.tabs[torrent] = t
	}
	return t
}

// forget forgets a torrent of which nothing is to be remembered.
func (b *Book) forget(torrent TorrentID) {
	if t := b.tabs[torrent]; t.empty() && t.hold.IsZero() {
		delete(b.tabs, torrent)
	}
}

// tidy forgets what no longer matters of a torrent.
func (b *Book) tidy(torrent TorrentID) {
	b.forget(torrent)
	if b.defaulted && b.Owed() == 0 {
		b.defaulted = false
	}
}

// torrents returns the torrents in a fixed order, the given one first.
func (b *Book) torrents(first TorrentID) []TorrentID {
	all := slices.SortedFunc(maps.Keys(b.tabs), func(x, y TorrentID) int { return slices.Compare(x[:], y[:]) })
	if i := slices.Index(all, first); i > 0 {
		all = slices.Insert(slices.Delete(all, i, i+1), 0, first)
	}
	return all
}

// addSaturated never wraps: more than 2^64 coins of credit are that many.
func addSaturated(a, b Amount) Amount {
	if sum, ok := a.Add(b); ok {
		return sum
	}
	return math.MaxUint64
}
