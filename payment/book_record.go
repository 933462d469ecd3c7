package payment

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// ErrBook means that bytes are no book: they were damaged.
var ErrBook = errors.New("not a valid book of an account: the record is damaged")

// bookVersion opens a book on disk. Version 1 had neither repeats nor the
// numbers of units; version 2 had no ages, but when the last connection ended.
const bookVersion = 3

// Append writes the book to b: version u8, them 32, credit u64, halved u64,
// defaulted u8; resends u8, repeats u64, since u64; the number of commitments u32 and for
// each its id 32 and index u32; the number of torrents u32 and for each its id
// 32, leased (what Mark or Extend allows), debt, doubt, ahead u64, the number of ages u8
// and for each since u64 and units u64, the number of units in debt u32 and for
// each its number u32. Times are seconds since 1970,
// 0 for none. Equal books give equal bytes.
func (b *Book) Append(out []byte) []byte {
	be := binary.BigEndian
	out = append(out, bookVersion)
	out = append(out, b.config.Them[:]...)
	out = be.AppendUint64(out, uint64(b.credit))
	out = be.AppendUint64(out, seconds(b.halved))
	out = append(out, asByte(b.defaulted), byte(b.resends))
	out = be.AppendUint64(be.AppendUint64(out, b.repeats), seconds(b.resendDay))
	out = be.AppendUint32(out, uint32(len(b.counted)))
	ids := slices.SortedFunc(maps.Keys(b.counted), func(x, y CommitmentID) int { return slices.Compare(x[:], y[:]) })
	for _, id := range ids {
		out = append(out, id[:]...)
		out = be.AppendUint32(out, b.counted[id])
	}
	out = be.AppendUint32(out, uint32(len(b.tabs)))
	for _, torrent := range b.torrents(TorrentID{}) {
		out = append(out, torrent[:]...)
		out = b.tabs[torrent].append(out)
	}
	return out
}

func (t *tab) append(out []byte) []byte {
	be := binary.BigEndian
	for _, n := range [...]uint64{t.mark(), t.debt, t.doubt, t.ahead} {
		out = be.AppendUint64(out, n)
	}
	out = append(out, byte(len(t.ages)))
	for _, a := range t.ages {
		out = be.AppendUint64(be.AppendUint64(out, seconds(a.since)), a.units)
	}
	out = be.AppendUint32(out, uint32(len(t.units)))
	for _, unit := range t.units {
		out = be.AppendUint32(out, unit)
	}
	return out
}

// mark is what is written of a lease: Mark and Extend made it somewhat more than it is.
func (t *tab) mark() uint64 {
	safe := max(t.safe, t.begun)
	return max(t.leased, safe-min(safe, t.owed()))
}

// ParseBook reads a book that fills data, as a node does that starts at now.
// The swarms that had leases are gone: what they were lent is in doubt until
// Settle, and its 24 hours begin: the book is Unsafe then, so that they begin
// once. The error is ErrBook.
func ParseBook(now time.Time, config BookConfig, data []byte) (*Book, error) {
	b := NewBook(config)
	in := cryptobyte.String(data)
	var version, defaulted, resends uint8
	var credit, halved, repeats, since uint64
	var them Account
	ok := in.ReadUint8(&version) && version >= 1 && version <= bookVersion &&
		in.CopyBytes(them[:]) && them == config.Them &&
		in.ReadUint64(&credit) && in.ReadUint64(&halved) && in.ReadUint8(&defaulted) && defaulted <= 1 &&
		in.ReadUint8(&resends) && resends <= maxResends && (version == 1 || in.ReadUint64(&repeats)) && repeats <= maxRepeats*MaxWindow && in.ReadUint64(&since) &&
		halved <= MaxTime && since <= MaxTime
	b.defaulted = defaulted == 1
	if !ok || !b.readCounted(&in) || !b.readTabs(now, &in, version) || !in.Empty() {
		return nil, ErrBook
	}
	b.credit, b.halved = Amount(credit), moment(halved)
	b.resends, b.repeats, b.resendDay = int(resends), repeats, moment(since)
	return b, nil
}

func (b *Book) readCounted(in *cryptobyte.String) bool {
	var n uint32
	if !in.ReadUint32(&n) || n > maxCommitments {
		return false
	}
	for range n {
		var id CommitmentID
		var index uint32
		if !in.CopyBytes(id[:]) || !in.ReadUint32(&index) || index == 0 || index > MaxLinks {
			return false
		}
		b.counted[id] = index
	}
	return len(b.counted) == int(n)
}

func (b *Book) readTabs(now time.Time, in *cryptobyte.String, version uint8) bool {
	var n uint32
	if !in.ReadUint32(&n) || n > maxTabs {
		return false
	}
	for range n {
		var torrent TorrentID
		t := &tab{}
		if !in.CopyBytes(torrent[:]) || !t.read(in) || !b.readAges(now, in, version, t) || version > 1 && !t.readUnits(in) || b.tabs[torrent] != nil {
			return false
		}
		b.unsafe = b.unsafe || t.leased > 0
		t.ages.add(now, t.leased)
		t.doubt, t.leased = t.doubt+t.leased, 0
		t.safe = t.owed()
		if !t.empty() {
			b.tabs[torrent] = t
		}
	}
	return true
}

// maxTabUnits bounds the counts of a tab together: what is read adds some of them
// up, and is written again.
const maxTabUnits = 1 << 40

func (t *tab) read(in *cryptobyte.String) bool {
	left := uint64(maxTabUnits)
	for _, count := range [...]*uint64{&t.leased, &t.debt, &t.doubt, &t.ahead} {
		if !in.ReadUint64(count) || *count > left {
			return false
		}
		left -= *count
	}
	return true
}

// readAges reads how old the debt of a tab is. Older versions say at most when
// the last connection ended; if they do not, the debt counts from now on, once.
func (b *Book) readAges(now time.Time, in *cryptobyte.String, version uint8, t *tab) bool {
	if version >= 3 {
		return t.readAges(in)
	}
	var left uint64
	if !in.ReadUint64(&left) || left > MaxTime {
		return false
	}
	since := moment(left)
	if since.IsZero() && !b.defaulted {
		since, b.unsafe = now, b.unsafe || t.owed() > 0
	}
	t.ages.add(since, t.owed())
	return true
}

func (t *tab) readAges(in *cryptobyte.String) bool {
	var n uint8
	if !in.ReadUint8(&n) || n > maxAges {
		return false
	}
	for range n {
		var since, units uint64
		if !in.ReadUint64(&since) || since > MaxTime || !in.ReadUint64(&units) || units == 0 || units > 2*maxTabUnits {
			return false
		}
		t.ages = append(t.ages, age{moment(since), units})
	}
	return t.ages.sum() == t.owed()
}

func (t *tab) readUnits(in *cryptobyte.String) bool {
	var n uint32
	if !in.ReadUint32(&n) || n > MaxWindow || uint64(n) > t.debt {
		return false
	}
	t.units = make([]uint32, n)
	for i := range t.units {
		if !in.ReadUint32(&t.units[i]) {
			return false
		}
	}
	return true
}

// seconds and moment keep the zero time zero.
func seconds(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(t.Unix())
}

func moment(s uint64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

func asByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
