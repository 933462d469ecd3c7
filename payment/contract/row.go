package contract

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// ErrDamaged means that a row is not as this package writes it.
var ErrDamaged = errors.New("the ledger's state is damaged: rebuild it from the block log")

// Layout is counted up whenever rows are written in another way than before: whoever
// has rows of before makes them anew from the transactions.
const Layout = 4

// The keys of rows; hex is lower case. Beside each: its value, and who writes it.
const (
	keyLedger   = "gen/ledger" // ledger 32 | minted u64 | organisations u16 | name; genesis
	keyPriceNow = "price/now"  // epoch u64; a majority of the organisations
	// organisations u16 | each: MSP (u8); genesis, a majority. The votes are counted by it,
	// because a writing call reads no ranges.
	keyOrganisations = "gen/organisations"
	// coins u64 that were minted after the genesis; a majority of the
	// organisations. It is a row of its own because gen/ledger never changes.
	keyMinted = "gen/minted"
)

func hexed(prefix string, id [32]byte) string { return prefix + hex.EncodeToString(id[:]) }

func hexed2(prefix string, a, b [32]byte) string { return hexed(hexed(prefix, a)+"/", b) }

// com/<id>: see commitment; the payer, by Open and when it ends. All that a redeem
// needs of a commitment whose cap was never raised is in this row: with the ledger on
// other machines each row costs.
func keyCommitment(c payment.CommitmentID) string { return hexed("com/", c) }

// cap/<id>/<k>: u32; the payer, once for each k from 1 to 63, rising. Number 0 is in
// the commitment's row.
func keyCap(c payment.CommitmentID, k uint8) string {
	return hexed("cap/", c) + "/" + hex.EncodeToString([]byte{k})
}

// red/<id>: index u32 | link 32; the receiver or its delegate.
func keyRedeemed(c payment.CommitmentID) string { return hexed("red/", c) }

// int/<id>: see intention; the payer.
func keyIntention(i payment.IntentionID) string { return hexed("int/", i) }

// cr/<receiver>/<tx>: coins u64; the transaction that earned it, then Sweep.
func keyCredit(a payment.Account, tx TxID) string { return hexed2("cr/", a, tx) }

// acct/<account>: coins u64; the owner.
func keyAccount(a payment.Account) string { return hexed("acct/", a) }

// tor/<torrent>: see torrent; anybody, once.
func keyTorrent(t payment.TorrentID) string { return hexed("tor/", t) }

// root/<payer>/<root>: the commitment's id 32; the payer, once.
func keyRoot(payer payment.Account, root payment.Link) string { return hexed2("root/", payer, root) }

// slot/<intention>/<receiver>/<slot>: the commitment's id 32; the payer, once.
func keySlot(c *payment.Commitment) string {
	var slot [4]byte
	binary.BigEndian.PutUint32(slot[:], c.Slot)
	return hexed2("slot/", c.Intention, c.Receiver) + "/" + hex.EncodeToString(slot[:])
}

// del/<receiver>: account 32; the receiver.
func keyDelegate(a payment.Account) string { return hexed("del/", a) }

// req/<creator>/<request>: SHA-256(arguments) 32 | result; the creator, once.
func keyRequest(a payment.Account, r payment.RequestID) string {
	return hexed("req/", a) + "/" + r.String()
}

// price/<epoch>: coins u64; a majority of the organisations, once.
func keyPrice(epoch uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], epoch)
	return "price/" + hex.EncodeToString(b[:])
}

// rev/<account>: see revocation; its organisation, or a majority.
func keyRevoked(a payment.Account) string { return hexed("rev/", a) }

// org/<MSP>: see organisation; the federation. All that admits a transaction of one
// of its members is in this row: with the ledger on other machines each row costs.
func keyOrganisation(msp string) string { return "org/" + msp }

// pile/<MSP>: see pile; the organisation's administrator, or a majority.
func keyPile(msp string) string { return "pile/" + msp }

// ca/<MSP>/<SHA-256 of the certificate>: trusted u8 | certificate; the federation.
func keyCA(msp string, fingerprint [32]byte) string { return hexed("ca/"+msp+"/", fingerprint) }

// heir/<account>: account 32; a majority of the organisations.
func keyHeir(a payment.Account) string { return hexed("heir/", a) }

// prop/<proposal>: see proposal; its proposer, once.
func keyProposal(id TxID) string { return hexed("prop/", id) }

// vote/<proposal>/<MSP>: 01; the organisation, once.
func keyVote(id TxID, msp string) string { return hexed("vote/", id) + "/" + msp }

// pass/<proposal>: see passing; the deciding vote, once.
func keyPassed(id TxID) string { return hexed("pass/", id) }

// Indexes for queries: each 1 byte, the payer.
const (
	byPayer     = "by/payer/"     // <payer>/<intention>, while open
	byIntention = "by/intention/" // <intention>/<commitment>
	byReceiver  = "by/receiver/"  // <receiver>/<commitment>, until Refund or a last Release
)

// present is the value of a row that says all by its key. Fabric has no empty
// values.
type present struct{}

func (present) append(b []byte) []byte { return append(b, 1) }

func (present) read(in *cryptobyte.String) bool {
	var one uint8
	return in.ReadUint8(&one) && one == 1
}

type coins payment.Amount

func (c coins) append(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(c)) }

func (c *coins) read(in *cryptobyte.String) bool { return in.ReadUint64((*uint64)(c)) }

type units uint32

func (u units) append(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(u)) }

func (u *units) read(in *cryptobyte.String) bool { return in.ReadUint32((*uint32)(u)) }

type epoch uint64

func (e epoch) append(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(e)) }

func (e *epoch) read(in *cryptobyte.String) bool { return in.ReadUint64((*uint64)(e)) }

type digest [32]byte

func (d digest) append(b []byte) []byte { return append(b, d[:]...) }

func (d *digest) read(in *cryptobyte.String) bool { return in.CopyBytes(d[:]) }

// claim is what was redeemed of a commitment.
type claim payment.Claim

func (c claim) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, c.Index), c.Link[:]...)
}

func (c *claim) read(in *cryptobyte.String) bool {
	return in.ReadUint32(&c.Index) && in.CopyBytes(c.Link[:])
}

// commitment is what the payer has said of one:
//
//	commitment 256 | cap u32 | end u8 | final u32
//
// The cap is number 0, and final is 0 until it ends.
type commitment struct {
	*payment.Commitment
	cap   uint32
	end   uint8
	final uint32 // what may be redeemed, once it has ended
}

// How a commitment ends.
const (
	endNone     = 0
	endReleased = 1 // by a signed close: redeemable up to final until expiry
	endSettled  = 2 // final is what was redeemed: nothing is owed any more
)

func (c *commitment) ended() bool { return c.end != endNone }

func (c commitment) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(c.Append(b), c.cap)
	return binary.BigEndian.AppendUint32(append(b, c.end), c.final)
}

func (c *commitment) read(in *cryptobyte.String) bool {
	var parsed payment.Commitment
	ok := readCommitment(in, &parsed) && in.ReadUint32(&c.cap) && c.cap > 0 && c.cap <= parsed.Links &&
		in.ReadUint8(&c.end) && c.end <= endSettled && in.ReadUint32(&c.final)
	c.Commitment = &parsed
	return ok && c.final <= parsed.Links && (c.ended() || c.final == 0)
}

// readCommitment reads the bytes that are hashed to a commitment's id.
func readCommitment(in *cryptobyte.String, c *payment.Commitment) bool {
	var layout []byte
	if !in.ReadBytes(&layout, payment.CommitmentBytes) {
		return false
	}
	parsed, err := payment.ParseCommitment(layout)
	if err == nil {
		*c = *parsed
	}
	return err == nil
}

// intention is coins that a payer froze for one torrent:
//
//	payer 32 | torrent 32 | epoch, price, funds, returned, reserved, declared u64 |
//	open u32 | closed u8
//
// What receivers redeem is in rows of their own, so the frozen coins are
// derived: funds - returned - redeemed x price.
type intention struct {
	payer    payment.Account
	torrent  payment.TorrentID
	epoch    uint64
	price    payment.Amount // never changes (L9)
	funds    payment.Amount // frozen in all
	returned payment.Amount // to the payer
	// reserved is the units that receivers may have: the caps of open
	// commitments, the final indexes of ended ones. L2: reserved x price +
	// returned <= funds.
	reserved uint64
	declared uint64 // seconds since 1970
	open     uint32 // commitments not settled
	closed   bool
}

func (i *intention) append(b []byte) []byte {
	b = append(append(b, i.payer[:]...), i.torrent[:]...)
	for _, n := range [...]uint64{
		i.epoch, uint64(i.price), uint64(i.funds), uint64(i.returned), i.reserved, i.declared,
	} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(binary.BigEndian.AppendUint32(b, i.open), asByte(i.closed))
}

func (i *intention) read(in *cryptobyte.String) bool {
	var closed uint8
	ok := in.CopyBytes(i.payer[:]) && in.CopyBytes(i.torrent[:]) && in.ReadUint64(&i.epoch) &&
		in.ReadUint64((*uint64)(&i.price)) && in.ReadUint64((*uint64)(&i.funds)) &&
		in.ReadUint64((*uint64)(&i.returned)) && in.ReadUint64(&i.reserved) &&
		in.ReadUint64(&i.declared) && in.ReadUint32(&i.open) && in.ReadUint8(&closed) && closed <= 1
	i.closed = closed == 1
	return ok
}

// torrent is SHA-1 20 | units u64 | parts u8 (1: v1, 2: v2).
type torrent struct {
	sha1  [20]byte
	units uint64
	parts uint8
}

func (t torrent) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(append(b, t.sha1[:]...), t.units), t.parts)
}

func (t *torrent) read(in *cryptobyte.String) bool {
	return in.CopyBytes(t.sha1[:]) && in.ReadUint64(&t.units) && in.ReadUint8(&t.parts)
}

// organisation is ledger 32 | administrator's account 32 | roots: number u16 |
// each: length u16, certificate. The roots are those of ca/<MSP>/ that are
// trusted now.
type organisation struct {
	ledger        payment.LedgerID
	administrator payment.Account
	roots         [][]byte // DER
}

func (o organisation) append(b []byte) []byte {
	b = append(append(b, o.ledger[:]...), o.administrator[:]...)
	return appendList(b, o.roots, func(b []byte, der *[]byte) []byte { return appendBytes(b, *der) })
}

func (o *organisation) read(in *cryptobyte.String) bool {
	return in.CopyBytes(o.ledger[:]) && in.CopyBytes(o.administrator[:]) &&
		readUpTo(in, maxRoots, &o.roots, func(in *cryptobyte.String, der *[]byte) bool {
			return readBytes(in, der, maxRootBytes)
		})
}

// trust adds a root, distrust takes one out.
func (o *organisation) trust(der []byte) { o.roots = append(o.roots, der) }

func (o *organisation) distrust(der []byte) {
	o.roots = slices.DeleteFunc(o.roots, func(other []byte) bool { return bytes.Equal(other, der) })
}

// Bounds of what one administrator alone can pile up on the ledger.
const (
	maxRootsEver   = 256  // added since the genesis, removed ones too
	maxRevocations = 4096 // in force, those of a majority apart
)

// pile counts what an organisation has added: roots u16 | revocations u16. There
// is no row as long as it has added nothing.
type pile struct{ roots, revocations uint16 }

func (p pile) append(b []byte) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, p.roots), p.revocations)
}

func (p *pile) read(in *cryptobyte.String) bool {
	return in.ReadUint16(&p.roots) && in.ReadUint16(&p.revocations)
}

type authority struct {
	trusted     bool
	certificate []byte
}

func (a authority) append(b []byte) []byte {
	return append(append(b, asByte(a.trusted)), a.certificate...)
}

func (a *authority) read(in *cryptobyte.String) bool {
	var trusted uint8
	ok := in.ReadUint8(&trusted) && trusted <= 1 && in.ReadBytes(&a.certificate, len(*in))
	a.trusted = trusted == 1
	return ok
}

type organisationList []string

func (l organisationList) append(b []byte) []byte {
	return appendList(b, l, func(b []byte, msp *string) []byte { return appendText(b, *msp) })
}

func (l *organisationList) read(in *cryptobyte.String) bool {
	return readUpTo(in, maxOrganisations, (*[]string)(l), readMSP)
}

// revocation is SHA-256(SubjectPublicKeyInfo) 32 | by u8 (0 its organisation, 1 a
// majority) | MSP (u8).
type revocation struct {
	key   digest
	byAll bool
	msp   string
}

func (v *revocation) append(b []byte) []byte {
	return appendText(append(v.key.append(b), asByte(v.byAll)), v.msp)
}

func (v *revocation) read(in *cryptobyte.String) bool {
	var by uint8
	ok := v.key.read(in) && in.ReadUint8(&by) && by <= 1 && readMSP(in, &v.msp)
	v.byAll = by == 1
	return ok
}

// proposal is the proposer's MSP (u8) | time u64 | decision (kind u8, fields).
type proposal struct {
	msp      string
	time     uint64 // seconds since 1970
	decision Decision
}

func (p *proposal) append(b []byte) []byte {
	return appendDecision(binary.BigEndian.AppendUint64(appendText(b, p.msp), p.time), p.decision)
}

func (p *proposal) read(in *cryptobyte.String) bool {
	return readMSP(in, &p.msp) && in.ReadUint64(&p.time) && readDecision(in, &p.decision)
}

// passing is when a proposal passed u64 | how many organisations there were u16.
type passing struct {
	time          uint64 // seconds since 1970
	organisations uint16
}

func (p passing) append(b []byte) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(b, p.time), p.organisations)
}

func (p *passing) read(in *cryptobyte.String) bool {
	return in.ReadUint64(&p.time) && in.ReadUint16(&p.organisations)
}

type request struct {
	digest digest
	result Result
}

func (r request) append(b []byte) []byte { return r.result.append(r.digest.append(b)) }

func (r *request) read(in *cryptobyte.String) bool { return r.digest.read(in) && r.result.read(in) }

// ledgerRow is what the genesis document says: ledger 32 | minted u64 | organisations
// u16 | name.
type ledgerRow struct {
	id       payment.LedgerID
	minted   payment.Amount
	founders uint16 // organisations
	name     string
}

func (l ledgerRow) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, l.id[:]...), uint64(l.minted))
	return append(binary.BigEndian.AppendUint16(b, l.founders), l.name...)
}

func (l *ledgerRow) read(in *cryptobyte.String) bool {
	var name []byte
	ok := in.CopyBytes(l.id[:]) && in.ReadUint64((*uint64)(&l.minted)) &&
		in.ReadUint16(&l.founders) && in.ReadBytes(&name, len(*in))
	l.name = string(name)
	return ok
}

func asByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
