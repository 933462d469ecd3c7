package swarm

import (
	"net/netip"
	"slices"
	"testing"

	"torrente/bencode"
	"torrente/peerwire"
)

// BEP 10: a peer hears by which port others reach us, as of when it connects, and which
// address it has itself; what it says of ours is passed on.
func TestAddressesInExtendedHandshakes(t *testing.T) {
	g := newStage(t, Config{Port: 9003, Proves: func([]byte) bool { return false }}, nil)
	g.hears(1, "10.9.8.7", 9003, "\x0a\x09\x08\x07")
	g.s.Listens(41234)
	g.hears(2, "::ffff:10.9.8.6", 41234, "\x0a\x09\x08\x06")
	g.s.Listens(0)
	g.hears(3, "2a00::1", 0, "\x2a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")

	for said, want := range map[string]string{
		"\x0b\x00\x00\x07": "11.0.0.7", "\x2a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02": "2a00::2",
		"": "", "\x0b\x00\x00": "", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0b\x00\x00\x07": "11.0.0.7",
	} {
		b, err := bencode.Encode(map[string]any{"m": map[string]any{}, "yourip": said})
		if err != nil {
			t.Fatal(err)
		}
		g.says(2, peerwire.ExtendedMessage(extHandshake, b))
		var got []Sighting
		if want != "" {
			got = []Sighting{{netip.MustParseAddr("10.9.8.6"), netip.MustParseAddr(want)}}
		}
		if seen := g.s.Take().Seen; !slices.Equal(seen, got) {
			t.Errorf("%x: %v, want %v", said, seen, got)
		}
	}
}

// hears has a peer connect, and compares what it is told.
func (g *stage) hears(id PeerID, from string, port int64, ip string) {
	g.t.Helper()
	g.s.Join(g.now, id, Peer{ID: [20]byte{byte(id)}, Addr: netip.AddrPortFrom(netip.MustParseAddr(from), 6881), Extended: true})
	for _, m := range g.sent(id) {
		if m.ID != peerwire.Extended || m.Index != extHandshake {
			continue
		}
		v, err := bencode.Parse(m.Data, bencode.Extended)
		if err != nil {
			g.t.Fatal(err)
		}
		d, err := v.Dict()
		if err != nil {
			g.t.Fatal(err)
		}
		p, _ := d.Int("p") // 0: not there
		yours, err := d.Bytes("yourip")
		if p != port || err != nil || string(yours) != ip {
			g.t.Errorf("%s hears of port %d and of %x (%v), want %d and %x", from, p, yours, err, port, ip)
		}
		return
	}
	g.t.Errorf("%s is not greeted", from)
}
