package wallet

import (
	"bytes"
	"encoding/hex"
	"testing"

	"torrente/payment"
)

func FuzzOpening(f *testing.F) {
	o := openingOf(commitment(0, true), 9)
	f.Add(o.append(nil))
	o.Released, o.Ended, o.Final = 5, true, 7
	f.Add(o.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, ok := parseOpening(b); ok && !bytes.Equal(o.append(nil), b) {
			t.Errorf("%x becomes %x", b, o.append(nil))
		}
	})
}

func FuzzClaim(f *testing.F) {
	c := commitment(0, false)
	claim := Claim{Commitment: *c, Best: linkOf(c, 9), Redeemed: 3}
	f.Add(claim.append(nil))
	claim.Close, claim.Ended = closeOf(c, 9), true
	f.Add(claim.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := parseClaim(b); ok && !bytes.Equal(c.append(nil), b) {
			t.Errorf("%x becomes %x", b, c.append(nil))
		}
	})
}

func FuzzIntention(f *testing.F) {
	i := Intention{Units: 1, Coins: 2}
	f.Add(i.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, ok := parseIntention(payment.IntentionID{}, b); ok && !bytes.Equal(i.append(nil), b) {
			t.Errorf("%x becomes %x", b, i.append(nil))
		}
	})
}

func FuzzUnits(f *testing.F) {
	f.Add((&unitChunk{1, 1 << 63}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := parseChunk(b); ok && !bytes.Equal(c.append(nil), b) {
			t.Errorf("%x becomes %x", b, c.append(nil))
		}
	})
}

// The bytes after a log's header may be anything: all of them are accounted for.
func FuzzLog(f *testing.F) {
	id := commitment(0, false).ID()
	var l appendLog
	l.addLink((*[32]byte)(&id), 9, new([32]byte))
	l.addLink((*[32]byte)(&id), testLinks+1, new([32]byte))
	f.Add(l.buf)
	f.Add(append(make([]byte, linkBytes), 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := sold{claims: map[payment.CommitmentID]*claim{id: {Claim: Claim{Commitment: *commitment(0, false)}}}}
		data := append(logHeader(linksName, &Config{}), b...)
		l := appendLog{name: linksName, f: bytesFile{bytes.NewReader(data)}, record: linkBytes, end: int64(len(data))}
		r, err := l.replay(true, s.replayer())
		if err != nil || linkBytes*(r.Records+r.Blank+r.Damaged)+r.Cut != len(b) {
			t.Errorf("%d bytes: %+v, %v", len(b), r, err)
		}
		if best := s.claims[id].Best.Index; best > testLinks || (best > 0) != (r.Records > 0) {
			t.Errorf("%+v, best %d", r, best)
		}
		if _, err := l.replay(false, s.replayer()); (err != nil) != (r.Damaged > 0) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// The formats on disk: a change of them loses people's coins.
func TestFormats(t *testing.T) {
	id := payment.CommitmentID(bytes.Repeat([]byte{0xC0}, 32))
	var l appendLog
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"links header", "54524e544c4e4b31", logHeader(linksName, &Config{})[:8]},
		{"owed header", "54524e544f574531", logHeader(owedName, &Config{})[:8]},
		{"header", "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b000000000000000000000000000000000000000096a7c8db", logHeader(linksName, &Config{})[8:]},
		{"link", "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c000000102aa000000000000000000000000000000000000000000000000000000000000bbddf624bd", func() []byte {
			l.begin()
			l.addLink((*[32]byte)(&id), 258, &[32]byte{0xAA, 31: 0xBB})
			return bytes.Clone(l.buf)
		}()},
		{"owed", "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c000000102fe2bceb1", func() []byte {
			l.begin()
			l.addOwed((*[32]byte)(&id), 258)
			return bytes.Clone(l.buf)
		}()},
		{"row", "61b3e8d4fc", seal([]byte("b"), []byte("k"), []byte("a"))},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: %s, not %s", c.name, got, c.want)
		}
	}
}
