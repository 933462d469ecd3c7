package peerwire

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// The ids of the payment messages. They are sent only after both sides set
// their bit in the handshake, and BA and BE are kept for later.
const (
	PayHelloID  ID = 0xB0
	PayAuthID   ID = 0xB1
	PayTermsID  ID = 0xB2
	PayCommitID ID = 0xB3
	PayStatusID ID = 0xB4
	PayID       ID = 0xB5
	PayAckID    ID = 0xB6
	PayResumeID ID = 0xB7
	PayTopUpID  ID = 0xB8
	PayCloseID  ID = 0xB9
	PayHoldID   ID = 0xBB
	PayErrorID  ID = 0xBC
	PayUnpaidID ID = 0xBD
	PaySealedID ID = 0xBF
)

// IsPay reports whether the id is one of the payment messages.
func (id ID) IsPay() bool {
	_, ok := payLimits[id]
	return ok
}

// Alias names a commitment on one connection; the payer chooses it.
type Alias uint16

// PayHello (B0) comes first: magic "TRNTPAY1" | version u8 | flags u8 |
// count u8 | ledger 8 each. The first ledger of the initiator that the
// responder has too is the one.
type PayHello struct {
	Version, Flags uint8
	Ledgers        [][8]byte // at most 4
}

const (
	payMagic   = "TRNTPAY1"
	maxLedgers = 4
)

// PayTerms (B2) is an uploader's offer: price u64 | epoch u64 | unit u32 |
// floor u32 | window u32 | minimum expiry u32.
type PayTerms struct {
	Price  payment.Amount // of a unit
	Epoch  uint64
	Unit   uint32 // bytes
	Floor  uint32 // units served to anybody before payment
	Window uint32 // units served to this account before payment, now
	Expiry uint32 // seconds that a commitment must be valid for, at least
}

// PayCommit (B3) opens a commitment: alias u16 | commitment 256 | signature 64.
type PayCommit struct {
	Alias      Alias
	Commitment payment.Commitment
	Signature  payment.Signature
}

// PayState is what an uploader knows of a commitment.
type PayState uint8

// The states of PayStatus.
const (
	PayPending PayState = iota
	PayRegistered
	PayRefused
	PayExpiring
	PayClosed
	PayClosing // said by the payer: it asks for the close
)

// PayStatus (B4) is a hint about a commitment on the ledger: alias u16 |
// state u8 | cap u32 | height u64 | code u16.
type PayStatus struct {
	Alias  Alias
	State  PayState
	Cap    uint32 // units
	Height uint64
	Code   uint16 // the ledger's, if refused
}

// Pay (B5) releases a link: alias u16 | index u32 | link 32. It pays for all
// units up to index.
type Pay struct {
	Alias Alias
	Index uint32
	Link  payment.Link
}

// PayAck (B6) says how far an uploader has counted: alias u16 | index u32 |
// served u32 | window u32.
type PayAck struct {
	Alias                 Alias
	Index, Served, Window uint32 // units
}

// PayResume (B7) says where a commitment stood: commitment 32 | alias u16 |
// index u32 | link 32 | owed u32 | ahead u32. The payer says it first and binds
// the alias; the receiver answers.
type PayResume struct {
	Commitment payment.CommitmentID
	Alias      Alias
	Index      uint32
	Link       payment.Link // of Index; the root of index 0
	Owed       uint32       // units served and not paid, as the sender sees it
	Ahead      uint32       // units paid and not served, as the sender sees it
}

// PayTopUp (B8) is a hint that a higher cap was submitted: alias u16 | cap u32.
type PayTopUp struct {
	Alias Alias
	Cap   uint32 // units
}

// PayClose (B9) is an uploader's last word on a commitment.
type PayClose struct{ payment.SignedClose }

// PayHold (BB) says that the next request waits for a link: alias u16 |
// unpaid u32 | reason u8.
type PayHold struct {
	Alias  Alias
	Unpaid uint32 // units
	Reason uint8
}

// PayError (BC) says what was wrong: alias u16 | code u16 | text, at most 200
// bytes. Fatal ones are followed by the end of the connection.
type PayError struct {
	Alias Alias
	Code  uint16
	Text  string
}

const maxPayText = 200

// PayUnpaid (BD) lists units of this torrent that an uploader served before,
// and that were not paid: count u16 (1 to 1,024) | unit u32 each. What did not come of them
// it serves again free.
type PayUnpaid struct{ Units []uint32 }

// The lengths of the bodies; those that vary have their largest.
const (
	maxPayAuth   = 16 << 10
	maxPayClose  = 1 + 255 + 2 + 256 + 32 + 32 + 4 + payment.SignatureBytes
	payCommitLen = 2 + payment.CommitmentBytes + payment.SignatureBytes
)

// payLimits are the largest bodies by id.
var payLimits = map[ID]int{
	PayHelloID: len(payMagic) + 3 + 8*maxLedgers, PayAuthID: maxPayAuth, PayTermsID: 32,
	PayCommitID: payCommitLen, PayStatusID: 17, PayID: 38, PayAckID: 14, PayResumeID: 78,
	PayTopUpID: 6, PayCloseID: maxPayClose, PayHoldID: 7, PayErrorID: 4 + maxPayText,
	PayUnpaidID: 2 + 4*payment.MaxWindow,
	PaySealedID: 1 + hashRange + 32*maxHashes + 64, // the longest message but a bitfield or metadata
}

// appendPay appends the body of a payment message.
func appendPay(dst []byte, m *Message) ([]byte, bool) {
	be := binary.BigEndian
	switch p := m.Rare.(type) {
	case PayHello:
		dst = append(dst, payMagic...)
		dst = append(dst, p.Version, p.Flags, byte(len(p.Ledgers)))
		for _, l := range p.Ledgers {
			dst = append(dst, l[:]...)
		}
	case PayTerms:
		dst = be.AppendUint64(dst, uint64(p.Price))
		dst = be.AppendUint64(dst, p.Epoch)
		for _, n := range [...]uint32{p.Unit, p.Floor, p.Window, p.Expiry} {
			dst = be.AppendUint32(dst, n)
		}
	case PayCommit:
		dst = be.AppendUint16(dst, uint16(p.Alias))
		dst = p.Commitment.Append(dst)
		dst = append(dst, p.Signature[:]...)
	case PayStatus:
		dst = append(be.AppendUint16(dst, uint16(p.Alias)), byte(p.State))
		dst = be.AppendUint32(dst, p.Cap)
		dst = be.AppendUint16(be.AppendUint64(dst, p.Height), p.Code)
	case Pay:
		dst = be.AppendUint32(be.AppendUint16(dst, uint16(p.Alias)), p.Index)
		dst = append(dst, p.Link[:]...)
	case PayAck:
		dst = be.AppendUint32(be.AppendUint16(dst, uint16(p.Alias)), p.Index)
		dst = be.AppendUint32(be.AppendUint32(dst, p.Served), p.Window)
	case PayResume:
		dst = append(dst, p.Commitment[:]...)
		dst = be.AppendUint32(be.AppendUint16(dst, uint16(p.Alias)), p.Index)
		dst = be.AppendUint32(be.AppendUint32(append(dst, p.Link[:]...), p.Owed), p.Ahead)
	case PayTopUp:
		dst = be.AppendUint32(be.AppendUint16(dst, uint16(p.Alias)), p.Cap)
	case PayClose:
		dst = p.Append(dst)
	case PayHold:
		dst = append(be.AppendUint32(be.AppendUint16(dst, uint16(p.Alias)), p.Unpaid), p.Reason)
	case PayError:
		dst = be.AppendUint16(be.AppendUint16(dst, uint16(p.Alias)), p.Code)
		dst = append(dst, p.Text[:min(len(p.Text), maxPayText)]...)
	case PayUnpaid:
		units := p.Units[:min(len(p.Units), payment.MaxWindow)]
		dst = be.AppendUint16(dst, uint16(len(units)))
		for _, unit := range units {
			dst = be.AppendUint32(dst, unit)
		}
	default:
		if m.ID != PayAuthID && m.ID != PaySealedID {
			return dst, false
		}
		dst = append(dst, m.Data...)
	}
	return dst, true
}

// parsePay reads the body of a payment message.
func (m *Message) parsePay(b []byte) bool {
	s := cryptobyte.String(b)
	switch m.ID {
	case PayAuthID, PaySealedID:
		m.Data = b
		return len(b) > 0
	case PayHelloID:
		return m.parsePayHello(s)
	case PayTermsID:
		return m.parsePayTerms(s)
	case PayCommitID:
		return m.parsePayCommit(s)
	case PayStatusID:
		return m.parsePayStatus(s)
	case PayResumeID:
		return m.parsePayResume(s)
	case PayUnpaidID:
		return m.parsePayUnpaid(s)
	case PayCloseID:
		c, err := payment.ParseSignedClose(b)
		if err != nil {
			return false
		}
		m.Rare = PayClose{*c}
		return true
	case PayErrorID:
		var e PayError
		if !readAlias(&s, &e.Alias) || !s.ReadUint16(&e.Code) {
			return false
		}
		e.Text = string(s)
		m.Rare = e
		return true
	}
	return m.parsePayCounts(s)
}

func (m *Message) parsePayHello(s cryptobyte.String) bool {
	var h PayHello
	var magic []byte
	var n uint8
	if !s.ReadBytes(&magic, len(payMagic)) || string(magic) != payMagic || !s.ReadUint8(&h.Version) ||
		!s.ReadUint8(&h.Flags) || !s.ReadUint8(&n) || n > maxLedgers || len(s) != 8*int(n) {
		return false
	}
	h.Ledgers = make([][8]byte, n)
	for i := range h.Ledgers {
		s.CopyBytes(h.Ledgers[i][:])
	}
	m.Rare = h
	return true
}

func (m *Message) parsePayTerms(s cryptobyte.String) bool {
	var t PayTerms
	var price uint64
	ok := s.ReadUint64(&price) && s.ReadUint64(&t.Epoch) && s.ReadUint32(&t.Unit) && s.ReadUint32(&t.Floor) &&
		s.ReadUint32(&t.Window) && s.ReadUint32(&t.Expiry) && s.Empty()
	t.Price = payment.Amount(price)
	m.Rare = t
	return ok
}

func (m *Message) parsePayCommit(s cryptobyte.String) bool {
	var c PayCommit
	var body []byte
	if !readAlias(&s, &c.Alias) || !s.ReadBytes(&body, payment.CommitmentBytes) || !s.CopyBytes(c.Signature[:]) || !s.Empty() {
		return false
	}
	parsed, err := payment.ParseCommitment(body)
	if err != nil {
		return false
	}
	c.Commitment = *parsed
	m.Rare = c
	return true
}

func (m *Message) parsePayStatus(s cryptobyte.String) bool {
	var p PayStatus
	var state uint8
	ok := readAlias(&s, &p.Alias) && s.ReadUint8(&state) && state <= uint8(PayClosing) && s.ReadUint32(&p.Cap) &&
		s.ReadUint64(&p.Height) && s.ReadUint16(&p.Code) && s.Empty()
	p.State = PayState(state)
	m.Rare = p
	return ok
}

func (m *Message) parsePayResume(s cryptobyte.String) bool {
	var p PayResume
	ok := s.CopyBytes(p.Commitment[:]) && readAlias(&s, &p.Alias) && s.ReadUint32(&p.Index) &&
		s.CopyBytes(p.Link[:]) && s.ReadUint32(&p.Owed) && s.ReadUint32(&p.Ahead) && s.Empty()
	m.Rare = p
	return ok
}

func (m *Message) parsePayUnpaid(s cryptobyte.String) bool {
	var n uint16
	if !s.ReadUint16(&n) || n == 0 || len(s) != 4*int(n) {
		return false
	}
	p := PayUnpaid{make([]uint32, n)}
	for i := range p.Units {
		s.ReadUint32(&p.Units[i])
	}
	m.Rare = p
	return true
}

// parsePayCounts reads the short messages: an alias and some numbers.
func (m *Message) parsePayCounts(s cryptobyte.String) bool {
	var alias Alias
	var n uint32
	if !readAlias(&s, &alias) || !s.ReadUint32(&n) {
		return false
	}
	ok := false
	switch m.ID {
	case PayID:
		p := Pay{Alias: alias, Index: n}
		ok = s.CopyBytes(p.Link[:])
		m.Rare = p
	case PayAckID:
		p := PayAck{Alias: alias, Index: n}
		ok = s.ReadUint32(&p.Served) && s.ReadUint32(&p.Window)
		m.Rare = p
	case PayTopUpID:
		m.Rare, ok = PayTopUp{alias, n}, true
	case PayHoldID:
		p := PayHold{Alias: alias, Unpaid: n}
		ok = s.ReadUint8(&p.Reason)
		m.Rare = p
	}
	return ok && s.Empty()
}

func readAlias(s *cryptobyte.String, a *Alias) bool { return s.ReadUint16((*uint16)(a)) }
