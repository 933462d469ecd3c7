package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/peerwire"
)

// customer is a member that the test plays on one connection to a seller.
type customer struct {
	t       *testing.T
	conn    net.Conn
	reader  *peerwire.Reader
	session *identity.Session
	opened  []byte // messages that came sealed together and are not read yet
}

// visitAs opens a connection about a torrent and becomes authentic on it.
func visitAs(t *testing.T, m *Membership, shop *Torrent) *customer {
	t.Helper()
	c, err := net.Dial("tcp", at(shop.node).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ours := peerwire.Handshake{InfoHash: shop.hashes[0]}
	rand.Read(ours.PeerID[:])
	ours.Set(peerwire.PayOffer)
	ours.Set(peerwire.FeatureV2)
	hello := peerwire.Message{ID: peerwire.PayHelloID, Rare: peerwire.PayHello{Version: payVersion, Ledgers: [][8]byte{m.Ledger.ID().Short()}}}
	c.Write(peerwire.Append(ours.Append(nil), hello))
	theirs, err := peerwire.ReadHandshake(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &customer{t: t, conn: c, reader: peerwire.NewReader(c, func() []byte { return make([]byte, 1<<14) })}
	said := peerwire.Append(theirs.Append(ours.Append(nil)), hello)
	said = peerwire.Append(said, p.until(peerwire.PayHelloID))
	p.session, err = identity.Start(t.Context(), identity.Initiator, identity.SessionConfig{
		Identity: m.Identity, Trust: m.Trust, Transcript: sha256.Sum256(said), Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.session.Close)
	for in := []byte(nil); !p.session.Done(); {
		out, err := p.session.Step(in)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(wire(peerwire.Message{ID: peerwire.PayAuthID, Data: out}))
		if !p.session.Done() {
			in = p.until(peerwire.PayAuthID).Data
		}
	}
	p.seal(nil)
	return p
}

// seal sends a message as it goes over a sealed connection.
func (p *customer) seal(plain []byte) {
	sealed, err := p.session.Seal(nil, plain)
	if err != nil {
		p.t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(sealed)))
	p.conn.Write(append(append(b, byte(peerwire.PaySealedID)), sealed...))
}

func (p *customer) say(m peerwire.Message) { p.seal(wire(m)) }

// until reads up to a message of a kind.
func (p *customer) until(id peerwire.ID) peerwire.Message {
	p.t.Helper()
	for {
		m, err := p.next()
		if err != nil {
			p.t.Fatalf("waiting for %v: %v", id, err)
		}
		if m.ID == id {
			return m
		}
	}
}

func (p *customer) next() (m peerwire.Message, err error) {
	if len(p.opened) > 0 {
		m, p.opened, err = peerwire.Cut(p.opened, peerwire.Limits{})
		return m, err
	}
	p.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if m, err = p.reader.Next(); err != nil || m.ID != peerwire.PaySealedID {
		return m, err
	}
	p.opened, err = p.session.Open(nil, m.Data)
	if err != nil || len(p.opened) == 0 {
		return m, err
	}
	return p.next()
}

// shows shows a commitment.
func (p *customer) shows(s *sale, alias peerwire.Alias) {
	p.say(peerwire.Message{ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: alias, Commitment: s.commit, Signature: s.sig}})
}

// hears wants a status of a commitment, behind others of the same.
func (p *customer) hears(alias peerwire.Alias, state peerwire.PayState) {
	p.t.Helper()
	for {
		if s := p.until(peerwire.PayStatusID).Rare.(peerwire.PayStatus); s.Alias == alias && s.State == state {
			return
		} else if s.State != peerwire.PayPending {
			p.t.Fatalf("%+v, want state %d", s, state)
		}
	}
}

// ends wants the seller to end the connection.
func (p *customer) ends() {
	p.t.Helper()
	for {
		if _, err := p.next(); errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatal("the connection goes on")
		} else if err != nil {
			return
		}
	}
}

// curious is a ledger that counts which commitments it is asked for.
type curious struct {
	ledger.Ledger

	mu    sync.Mutex // guards the following
	asked map[payment.CommitmentID]int
}

func (c *curious) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	if q.Kind == contract.QueryCommitment {
		c.mu.Lock()
		c.asked[q.Commitment]++
		c.mu.Unlock()
	}
	return c.Ledger.Query(ctx, q)
}

func (c *curious) times(s *sale) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[s.id]
}

// market is a seller of two torrents, and a buyer that the test plays.
type market struct {
	*dealing
	ledger     *curious
	shops      [2]*Torrent
	intentions [2]payment.IntentionID
}

func openMarket(t *testing.T) *market {
	t.Helper()
	d := startDealing(t)
	m := &market{dealing: d, ledger: &curious{Ledger: d.club.ledger, asked: map[payment.CommitmentID]int{}}}
	d.seller.Ledger = m.ledger
	n := startNode(t, d.seller)
	other := makeGoods(t, 64*payment.UnitBytes-1, d.club.price())
	d.do(d.buyer, &contract.RegisterTorrent{Info: other.torrent.Info.Raw})
	for i, g := range []*goods{d.goods, other} {
		m.shops[i] = add(t, n, Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
		within(t, "the check", m.shops[i].Opened())
	}
	m.intentions = [2]payment.IntentionID{d.intention, d.declareFor(d.buyer, m.torrentOf(1))}
	return m
}

func (m *market) torrentOf(which int) payment.TorrentID {
	return payment.TorrentID(m.shops[which].Info().ID())
}

// calls opens a connection about a torrent, on which terms were offered.
func (m *market) calls(which int) *customer {
	m.t.Helper()
	p := visitAs(m.t, m.buyer, m.shops[which])
	p.until(peerwire.PayTermsID)
	return p
}

// promise makes a commitment about a torrent that no ledger knows.
func (m *market) promise(which int) *sale {
	m.t.Helper()
	return m.dealing.promise(m.torrentOf(which), m.intentions[which], 10, 4*time.Hour)
}

// kept is how many commitments the seller has written down.
func (m *market) kept() int { return len(m.seller.Wallet.Claims()) }

// offers is how many accounts have a commitment that is not registered.
func (m *market) offers() int {
	u := &m.shops[0].node.purse.unregistered
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.offers)
}

// An account that shows commitments which it never registers, on connections
// about two torrents, makes a seller ask for one of them, and write down none.
// The other has its turn when the first one's connection is gone.
func TestOneUnregisteredCommitment(t *testing.T) {
	m := openMarket(t)
	a, b := m.calls(0), m.calls(1)
	first, second := m.promise(0), m.promise(1)
	a.shows(first, 1)
	a.hears(1, peerwire.PayPending)
	eventually(t, "a look at the first", func() bool { return m.ledger.times(first) > 0 })
	b.shows(second, 1)
	b.hears(1, peerwire.PayPending)
	if n := m.ledger.times(second); n != 0 {
		t.Errorf("the second was asked for %d times", n)
	}
	a.conn.Close()
	eventually(t, "a look at the second", func() bool { return m.ledger.times(second) > 0 })
	b.conn.Close()
	eventually(t, "the end of both", func() bool { return m.offers() == 0 })
	if n := m.kept(); n != 0 {
		t.Errorf("%d commitments that nobody registered are written down", n)
	}
}

// An honest buyer gets both torrents: what waits behind a commitment is taken
// when that is registered. Each is written down then.
func TestUnregisteredTakeTurns(t *testing.T) {
	m := openMarket(t)
	a, b := m.calls(1), m.calls(0)
	first, second := m.promise(1), m.promise(0)
	a.shows(first, 7)
	a.hears(7, peerwire.PayPending)
	m.registers(second) // and it has to wait all the same
	b.shows(second, 8)
	b.hears(8, peerwire.PayPending)
	if n := m.kept(); n != 0 {
		t.Errorf("%d are written down", n)
	}
	m.registers(first)
	a.hears(7, peerwire.PayRegistered)
	b.hears(8, peerwire.PayRegistered)
	if n, open := m.kept(), m.offers(); n != 2 || open != 0 {
		t.Errorf("%d are written down, %d wait", n, open)
	}
	// Neither is taken anew on another connection, where it would count again.
	c := m.calls(0)
	c.shows(second, 9)
	c.ends()
}

// A node that buys two torrents from one seller at once gets both.
func TestTwoTorrentsFromOneSeller(t *testing.T) {
	m := openMarket(t)
	n := startNode(t, m.buyer)
	var downloads []*Torrent
	for _, shop := range m.shops {
		downloads = append(downloads, add(t, n, Options{Torrent: shop.opt.Torrent, Peers: []netip.AddrPort{at(shop.node)}, Consent: Consent{1000, clubPrice}}))
	}
	for _, d := range downloads {
		within(t, "the paid download", d.Complete())
	}
}

// registers puts a commitment on the ledger.
func (m *market) registers(s *sale) { m.register(s, 10) }

// A commitment that waits, and is registered meanwhile by another connection, is
// not taken a second time.
func TestTheSameCommitmentTwice(t *testing.T) {
	m := openMarket(t)
	a, b := m.calls(0), m.calls(1)
	same := m.promise(0)
	a.shows(same, 1)
	a.hears(1, peerwire.PayPending)
	b.shows(same, 2)
	b.hears(2, peerwire.PayPending)
	m.registers(same)
	a.hears(1, peerwire.PayRegistered)
	b.ends()
}

// A second one on the same connection, while the first waits for the ledger, ends
// it; and the first is forgotten.
func TestTwoCommitmentsOnAConnection(t *testing.T) {
	m := openMarket(t)
	a := m.calls(0)
	a.shows(m.promise(0), 1)
	a.shows(m.promise(0), 2)
	a.ends()
	eventually(t, "the end", func() bool { return m.offers() == 0 })
}

// Nobody but the account itself waits for its commitment, and there is nothing to
// close before it is registered.
func TestUnregisteredIsNotClosed(t *testing.T) {
	m := openMarket(t)
	a := m.calls(0)
	a.shows(m.promise(0), 1)
	a.hears(1, peerwire.PayPending)
	a.say(peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: 1, State: peerwire.PayClosing}})
	a.ends()
	eventually(t, "the end", func() bool { return m.offers() == 0 })
	if err := m.shops[0].Err(); err != nil || m.kept() != 0 {
		t.Errorf("%v, %d written down", err, m.kept())
	}
}

// One that is never registered gives way to others after a while, and not to
// nobody.
func TestUnregisteredLapses(t *testing.T) {
	m := openMarket(t)
	u := &m.shops[0].node.purse.unregistered
	a, b := m.calls(0), m.calls(1)
	first, second := m.promise(0), m.promise(1)
	a.shows(first, 1)
	a.hears(1, peerwire.PayPending)
	now := time.Now().Add(time.Minute) // ahead of the node's own looks
	u.lapse(now)
	u.lapse(now.Add(lapseAfter)) // nobody waits
	m.registers(second)
	b.shows(second, 2)
	b.hears(2, peerwire.PayPending)
	u.lapse(now)
	u.lapse(now.Add(lapseAfter - time.Second))
	if n := m.ledger.times(second); n != 0 {
		t.Error("it gives way too early")
	}
	u.lapse(now.Add(lapseAfter + time.Minute))
	a.ends()
	b.hears(2, peerwire.PayRegistered)
}

// One that expires unregistered gives way, and so does one whose torrent is
// closed.
func TestUnregisteredGiveWay(t *testing.T) {
	m := openMarket(t)
	u := &m.shops[0].node.purse.unregistered
	now, them := time.Now(), m.buyer.account()
	show := func(shop int, at time.Time) (*conn, bool) {
		s := m.promise(shop)
		c := newConn(nil, 0, m.shops[shop], peerwire.Limits{})
		first, err := u.admit(at, them, offer{conn: c, id: s.id, message: peerwire.Message{
			ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Commitment: s.commit, Signature: s.sig},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return c, first
	}
	_, first := show(0, now)
	_, waits := show(1, now.Add(time.Hour))
	_, last := show(1, now.Add(5*time.Hour))
	if !first || waits || !last {
		t.Errorf("handed on: %v, %v, and after the first two expired %v", first, waits, last)
	}
	if err := m.shops[1].Close(); err != nil {
		t.Error(err)
	}
	if n := m.offers(); n != 0 {
		t.Errorf("%d accounts wait for a torrent that is closed", n)
	}
}
