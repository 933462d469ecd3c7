package payment

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// CommitmentBytes is the length of a commitment without its signature.
const CommitmentBytes = 256

// commitmentTag opens a commitment; its last character is the version.
const commitmentTag = "TRNTCOM1"

// MaxTime bounds every time in seconds since 1970, so that sums of times and
// durations cannot wrap. It is the end of the year 9999.
const MaxTime = 253402300799

// ErrCommitment means that bytes are no commitment that anybody could honour.
var ErrCommitment = errors.New("not a valid commitment")

// Commitment is the payer's word to one receiver: whoever shows link i of the
// chain under Root, i at most the cap that the ledger holds, is owed i units.
// The layout is 256 bytes, big endian (section 2):
//
//	  0 tag 8       8 ledger 32    40 intention 32   72 torrent 32
//	104 payer 32  136 receiver 32 168 root 32       200 chain id 12
//	212 slot u32  216 unit u32    220 links u32     224 price u64
//	232 epoch u64 240 expiry u64  248 flags u64
type Commitment struct {
	Ledger    LedgerID
	Intention IntentionID
	Torrent   TorrentID
	Payer     Account
	Receiver  Account
	Root      Link
	Chain     ChainID
	Slot      uint32 // 0, 1, ...: the chains of one intention to one receiver
	Links     uint32 // 1 to MaxLinks
	Price     Amount // for each unit of UnitBytes
	Epoch     uint64 // of the price
	Expiry    uint64 // seconds since 1970; redeemable before it
}

// Check reports why the commitment cannot be honoured: ErrCommitment. It does
// not look at signature, ledger or time.
func (c *Commitment) Check() error {
	_, fits := c.Price.Mul(uint64(c.Links))
	switch {
	case c.Links == 0 || c.Links > MaxLinks:
		return fmt.Errorf("%w: %d links, not 1 to %d", ErrCommitment, c.Links, MaxLinks)
	case !fits:
		return fmt.Errorf("%w: %d links at price %s exceed 64 bits", ErrCommitment, c.Links, c.Price)
	case c.Payer == c.Receiver:
		return fmt.Errorf("%w: payer and receiver are one account", ErrCommitment)
	case c.Expiry > MaxTime:
		return fmt.Errorf("%w: it expires after the year 9999", ErrCommitment)
	}
	return nil
}

// Append adds the 256 bytes to b.
func (c *Commitment) Append(b []byte) []byte {
	b = append(b, commitmentTag...)
	for _, part := range [...][]byte{
		c.Ledger[:], c.Intention[:], c.Torrent[:], c.Payer[:], c.Receiver[:], c.Root[:], c.Chain[:],
	} {
		b = append(b, part...)
	}
	b = binary.BigEndian.AppendUint32(b, c.Slot)
	b = binary.BigEndian.AppendUint32(b, UnitBytes)
	b = binary.BigEndian.AppendUint32(b, c.Links)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Price))
	b = binary.BigEndian.AppendUint64(b, c.Epoch)
	b = binary.BigEndian.AppendUint64(b, c.Expiry)
	return binary.BigEndian.AppendUint64(b, 0) // flags: none has a meaning yet
}

// ParseCommitment reads exactly 256 bytes and checks all that can be checked
// without the ledger. An unknown unit or flag is refused: it would change what
// is owed. The error is ErrCommitment.
func ParseCommitment(b []byte) (*Commitment, error) {
	if len(b) != CommitmentBytes || string(b[:8]) != commitmentTag {
		return nil, fmt.Errorf("%w: %d bytes, or another tag", ErrCommitment, len(b))
	}
	be := binary.BigEndian
	if unit, flags := be.Uint32(b[216:]), be.Uint64(b[248:]); unit != UnitBytes || flags != 0 {
		return nil, fmt.Errorf("%w: unit %d or flags %#x of another version", ErrCommitment, unit, flags)
	}
	c := &Commitment{
		Ledger:    LedgerID(b[8:40]),
		Intention: IntentionID(b[40:72]),
		Torrent:   TorrentID(b[72:104]),
		Payer:     Account(b[104:136]),
		Receiver:  Account(b[136:168]),
		Root:      Link(b[168:200]),
		Chain:     ChainID(b[200:212]),
		Slot:      be.Uint32(b[212:]),
		Links:     be.Uint32(b[220:]),
		Price:     Amount(be.Uint64(b[224:])),
		Epoch:     be.Uint64(b[232:]),
		Expiry:    be.Uint64(b[240:]),
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// ID returns SHA-256 of the 256 bytes: the commitment's name on the ledger,
// and the digest that is signed.
func (c *Commitment) ID() CommitmentID {
	return sha256.Sum256(c.Append(make([]byte, 0, CommitmentBytes)))
}

// Start is the claim to nothing, from which links are verified.
func (c *Commitment) Start() Claim { return Claim{0, c.Root} }

// Verify reports whether deeper is a link of this commitment's chain, given a
// link that is known to be one. Links beyond the chain are not.
func (c *Commitment) Verify(known, deeper Claim) bool {
	return deeper.Index <= c.Links && Verify(c.Chain, known, deeper)
}

// Sign signs the commitment with the payer's key.
func (c *Commitment) Sign(key *ecdsa.PrivateKey) (Signature, error) {
	return Sign(key, c.ID())
}

// VerifySignature checks that the payer, who is this key in this organisation,
// signed the commitment. The errors are ErrSigner, ErrKey and ErrSignature.
func (c *Commitment) VerifySignature(msp string, spki []byte, sig Signature) error {
	return verifyBy(c.Payer, msp, spki, sig, c.ID())
}
