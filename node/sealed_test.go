package node

import (
	"io"
	"net"
	"slices"
	"testing"

	"torrente/identity"
	"torrente/peerwire"
)

// What comes in one sealed message is heard, one message after the other; what
// may not be in one ends the connection.
func TestMessagesSealedTogether(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	seller := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", seller.Opened())
	buyer := visitAs(t, c.member(t, "buyer"), seller)

	ask := func(index uint32) peerwire.Message {
		f := g.torrent.Info.Files[0]
		return peerwire.Message{ID: peerwire.HashRequest, Rare: peerwire.HashRange{Root: f.Root, Index: index, Length: 2}}
	}
	buyer.seal(slices.Concat(wire(peerwire.Of(peerwire.Interested)), wire(ask(0)), wire(ask(2))))
	for _, want := range []uint32{0, 2} {
		if r := buyer.until(peerwire.Hashes).Rare.(peerwire.HashRange); r.Index != want {
			t.Errorf("the hashes from %d on came instead of those from %d on", r.Index, want)
		}
	}

	for name, plain := range map[string][]byte{
		"a block":                 wire(peerwire.Message{ID: peerwire.Piece, Length: 1, Data: []byte{1}}),
		"a keep-alive":            wire(peerwire.Of(peerwire.KeepAlive)),
		"a sealed message":        wire(peerwire.Message{ID: peerwire.PaySealedID, Data: make([]byte, 16)}),
		"pay hello":               wire(peerwire.Message{ID: peerwire.PayHelloID, Rare: peerwire.PayHello{Version: payVersion}}),
		"half a message":          wire(ask(0))[:20],
		"a good one, then a half": append(wire(ask(0)), 0, 0, 1),
	} {
		cheat := visitAs(t, c.member(t, "cheat"), seller)
		cheat.seal(plain)
		for err := error(nil); err == nil; {
			_, err = cheat.next()
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Errorf("%s was sealed, and the connection goes on", name)
			}
		}
	}
}

// sessions are both ends of a session between two members.
func sessions(t *testing.T, c *club, transcript [32]byte) (a, b *identity.Session) {
	t.Helper()
	start := func(role identity.Role, name string) *identity.Session {
		m := c.member(t, name)
		s, err := identity.Start(t.Context(), role, identity.SessionConfig{
			Identity: m.Identity, Trust: m.Trust, Transcript: transcript, Now: m.Identity.Leaf().NotBefore,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	a, b = start(identity.Initiator, "a"), start(identity.Responder, "b")
	for says := []byte(nil); !a.Done() || !b.Done(); a, b = b, a {
		out, err := a.Step(says)
		if err != nil {
			t.Fatal(err)
		}
		says = out
	}
	return a, b
}

// Messages go out sealed together, but none overtakes a block, nor a block it.
func TestSealedOrder(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, hybrid)
	seed := add(t, startNode(t, nil), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", seed.Opened())
	sealing, opening := sessions(t, c, [32]byte{1})
	ours, theirs := net.Pipe()
	conn := newConn(ours, 1, seed, peerwire.Limits{})
	out := []peerwire.Message{{ID: peerwire.PaySealedID, Rare: sealing}, peerwire.HaveMessage(0), peerwire.HaveMessage(1)}
	for i := range uint32(20) { // more than one chunk
		out = append(out, peerwire.Message{ID: peerwire.Piece, Begin: i << 14, Length: 1 << 14})
	}
	out = append(out, peerwire.HaveMessage(2), peerwire.Message{ID: peerwire.Piece, Length: 1 << 14}, peerwire.HaveMessage(3))
	want := []string{"", "01", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "p", "2", "p", "3"}
	go func() {
		conn.writeAll(out)
		ours.Close()
	}()
	var got []string
	for r := peerwire.NewReader(theirs, func() []byte { return make([]byte, 1<<14) }); ; {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.ID == peerwire.Piece {
			got = append(got, "p")
			continue
		}
		plain, err := opening.Open(nil, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		haves := ""
		for len(plain) > 0 {
			if m, plain, err = peerwire.Cut(plain, peerwire.Limits{}); err != nil {
				t.Fatal(err)
			}
			haves += string('0' + rune(m.Index))
		}
		got = append(got, haves)
	}
	if !slices.Equal(got, want) {
		t.Errorf("went out as %q, want %q", got, want)
	}
}
