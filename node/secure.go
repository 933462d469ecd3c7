package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/peerwire"
)

// payVersion is the version of the payment messages.
const payVersion = 2

// An address may begin authBurst authentications at once, and then one in
// authEvery: each costs us two signatures and more, some milliseconds, before we
// know who is there. Those that succeed do not count: a connection is one torrent,
// so a member that shares many with us begins as many when we start, and several
// members may be behind one address. Who comes too often is closed, and comes again
// later by itself.
const (
	authBurst = 32
	authEvery = 5 * time.Second
)

// The reasons for which a payment connection ends.
var (
	errUnsealed      = errors.New("a message came unsealed after the connection was sealed")
	errOutOfTurn     = errors.New("a payment message out of turn")
	errVersion       = errors.New("another version of the payment messages")
	errNoLedger      = errors.New("no ledger in common")
	errOldCommitment = errors.New("a commitment that was used before")
	errTooOften      = errors.New("too many authentications from this address")
	errSealedKind    = errors.New("a message that may not be sealed")
)

// secure is the authentication of one connection, and the seal on what comes
// in; the reader owns it. The order is: hello of both, TLS bytes both ways
// until both have keys, an empty sealed message of both. A direction is sealed
// from its first sealed message on. The writer seals what goes out, from the
// message on that the reader put in the outbox for that.
type secure struct {
	conn     *conn
	outgoing bool
	ours     peerwire.PayHello
	// said is the transcript: both handshakes, the initiator's first.
	said    []byte
	ctx     context.Context
	session *identity.Session // nil before the other's hello
	keyed   bool              // we have keys, and seal what we send
	sealed  bool              // they seal what they send
	timer   *time.Timer       // ends a connection that never becomes authentic
}

// newSecure prepares the authentication of a connection on which both sides
// set their payment bit.
func newSecure(c *conn, m *meeting, ledgers [][8]byte) *secure {
	first, second := m.theirs, m.ours
	if m.peer.Outgoing {
		first, second = m.ours, m.theirs
	}
	return &secure{
		conn: c, outgoing: m.peer.Outgoing, ctx: c.torrent.ctx, said: second.Append(first.Append(nil)),
		ours: peerwire.PayHello{Version: payVersion, Ledgers: ledgers},
	}
}

// hello is the first payment message.
func (s *secure) hello() peerwire.Message {
	return peerwire.Message{ID: peerwire.PayHelloID, Rare: s.ours}
}

// begin starts the time within which the connection must become authentic.
func (s *secure) begin() { s.timer = time.AfterFunc(handshakeTime, s.conn.close) }

// end frees what the handshake holds; the keys stay with the writer.
func (s *secure) end() {
	s.timer.Stop()
	if s.session != nil {
		s.session.Close()
	}
}

// changes reports whether a message may do more than tell the Swarm something:
// what came before it has to be told first.
func (s *secure) changes(m *peerwire.Message) bool {
	return m.ID != peerwire.Piece && !(s.sealed && m.ID == peerwire.PaySealedID)
}

// receive takes a message that was read, and puts into the inbox what it means
// to the Swarm: itself, what was sealed in it, or nothing.
func (s *secure) receive(m peerwire.Message, in *inbox) error {
	switch {
	case m.ID == peerwire.PayHelloID:
		return s.onHello(m.Rare.(peerwire.PayHello))
	case m.ID == peerwire.PayAuthID:
		return s.onAuth(m.Data)
	case m.ID == peerwire.PaySealedID:
		return s.open(m.Data, in)
	case m.ID == peerwire.Piece || m.ID == peerwire.KeepAlive:
	case s.sealed:
		return errUnsealed
	case m.ID == peerwire.PayErrorID: // why they refuse us, before there are keys
		return refusedBy(m.Rare.(peerwire.PayError))
	case m.ID.IsPay():
		return errOutOfTurn
	}
	return in.add(m)
}

// onHello agrees on a ledger and starts the handshake, bound to all that was
// said before.
func (s *secure) onHello(theirs peerwire.PayHello) (err error) {
	if s.session != nil {
		return errOutOfTurn
	}
	if theirs.Version != payVersion {
		return errVersion
	}
	first, second := theirs, s.ours
	if s.outgoing {
		first, second = s.ours, theirs
	}
	if !slices.ContainsFunc(first.Ledgers, func(l [8]byte) bool { return slices.Contains(second.Ledgers, l) }) {
		return errNoLedger
	}
	for _, h := range []peerwire.PayHello{first, second} {
		s.said = peerwire.Append(s.said, peerwire.Message{ID: peerwire.PayHelloID, Rare: h})
	}
	role := identity.Responder
	if s.outgoing {
		role = identity.Initiator
	}
	n := s.conn.torrent.node
	if !s.outgoing && !n.auths.Allow(remote(s.conn.net).Addr(), n.cfg.Now()) {
		return errTooOften
	}
	m := n.cfg.Member
	s.session, err = identity.Start(s.ctx, role, identity.SessionConfig{
		Identity: m.Certified(), Trust: m.Trust, Transcript: sha256.Sum256(s.said), Now: n.cfg.Now(),
	})
	if err != nil || !s.outgoing {
		return err
	}
	return s.onAuth(nil)
}

// onAuth passes the handshake's bytes on. A refusal is told to the other side,
// so that its user learns why.
func (s *secure) onAuth(in []byte) error {
	if s.session == nil || s.keyed {
		return errOutOfTurn
	}
	out, err := s.session.Step(in)
	if len(out) > 0 {
		s.send(peerwire.Message{ID: peerwire.PayAuthID, Data: out})
	}
	if err != nil {
		if code := identity.RefusalCode(err); code != 0 {
			s.send(peerwire.Message{ID: peerwire.PayErrorID, Rare: peerwire.PayError{Code: uint16(code)}})
		}
		return err
	}
	if s.session.Done() {
		s.keyed = true
		s.send(peerwire.Message{ID: peerwire.PaySealedID, Rare: s.session}) // seal from here on
	}
	return nil
}

func (s *secure) send(m peerwire.Message) {
	s.conn.put(m)
	s.conn.flush()
}

// open breaks a seal. The first one proves that the other side holds the key
// of its certificate and accepted ours.
func (s *secure) open(sealed []byte, in *inbox) error {
	if !s.keyed {
		return errOutOfTurn
	}
	plain, err := s.session.Open(nil, sealed)
	if err != nil {
		return err
	}
	if !s.sealed {
		s.sealed = true
		s.timer.Stop()
		s.authenticated()
	}
	limits := s.conn.currentLimits()
	for len(plain) > 0 {
		var m peerwire.Message
		if m, plain, err = peerwire.Cut(plain, limits); err != nil {
			return err
		}
		if err := s.opened(m, in); err != nil {
			return err
		}
	}
	return nil
}

// opened takes a message that was sealed.
func (s *secure) opened(m peerwire.Message, in *inbox) error {
	tells := true
	switch m.ID {
	case peerwire.PayCommitID:
		var err error
		if tells, err = s.openCommit(m); err != nil {
			return err
		}
	case peerwire.Piece, peerwire.KeepAlive, peerwire.PayHelloID, peerwire.PayAuthID, peerwire.PaySealedID:
		return fmt.Errorf("%w: %v", errSealedKind, m.ID)
	}
	if !tells {
		return nil
	}
	return in.add(m)
}

// openCommit checks a commitment's signature: the Swarm does no such work.
func (s *secure) openCommit(m peerwire.Message) (tells bool, err error) {
	c, p := m.Rare.(peerwire.PayCommit), s.session.Peer()
	if err := c.Commitment.VerifySignature(p.MSP, p.SPKI, c.Signature); err != nil {
		return false, err
	}
	return s.offered(m, &c)
}

// offered hands a commitment to the Swarm, or lets it wait while another one of
// the account is not registered. One that is not between us two is the Swarm's to
// refuse.
func (s *secure) offered(m peerwire.Message, c *peerwire.PayCommit) (tells bool, err error) {
	p, k := s.conn.torrent.node.purse, &c.Commitment
	if k.Payer != s.account() || k.Receiver != p.account || k.Ledger != p.ledger.ID() {
		return true, nil
	}
	first, err := p.unregistered.admit(p.node.cfg.Now(), s.account(), offer{conn: s.conn, id: k.ID(), message: m})
	if err == nil && !first {
		s.send(peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: c.Alias, State: peerwire.PayPending}})
	}
	return first, err
}

// account is that of the other side, once it is authentic.
func (s *secure) account() payment.Account {
	p := s.session.Peer()
	return payment.AccountOf(p.MSP, p.SPKI)
}

// authenticated tells the Swarm who is there.
func (s *secure) authenticated() {
	t, id, account := s.conn.torrent, s.conn.id, s.account()
	if !s.outgoing {
		t.node.auths.Return(remote(s.conn.net).Addr())
	}
	t.tell(func(now time.Time) { t.swarm.Authenticated(now, id, account) })
}

// refusedBy is the reason that the other side gave.
func refusedBy(e peerwire.PayError) error {
	return identity.RefusalOf(uint8(min(e.Code, math.MaxUint8)))
}
