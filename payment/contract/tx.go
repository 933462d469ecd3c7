package contract

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// What a transaction may weigh.
const (
	// MaxBody is the most bytes of a transaction without its signature: an
	// info dictionary of 1 MiB and the fields around it.
	MaxBody      = 1<<20 + 4096
	maxChain     = 4 // certificates
	maxChainSize = 16 << 10
	// MaxSigned is the most bytes of a signed transaction.
	MaxSigned = MaxBody + maxChainSize + 256
)

// txTag opens the bytes of a transaction; its last character is the version.
const txTag = "TRNTTXN1"

// idTag opens what a TxID is the hash of.
const idTag = "TPX"

// ErrTransaction means that bytes are no transaction.
var ErrTransaction = errors.New("not a valid transaction: update this program")

// Creator is who signed a transaction: an organisation and a key, as the
// certificate says that was verified.
type Creator struct {
	MSP  string
	SPKI []byte
}

// Account returns the creator's account.
func (c Creator) Account() payment.Account { return payment.AccountOf(c.MSP, c.SPKI) }

// TxID names a transaction: SHA-256 of "TPX", the creator's account and
// SHA-256 of the body. The account is in it, or a stranger could send the same
// body first and be taken for the creator; the signature is not, because the
// creator could make several.
type TxID [32]byte

func (id TxID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id TxID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is payment.ErrID.
func (id *TxID) UnmarshalText(text []byte) error {
	return (*payment.Account)(id).UnmarshalText(text)
}

// Transaction is one call on a ledger. Its bytes, which are signed:
//
//	tag 8 | ledger 32 | time u64 | request 16 | call u8 | length u32 | arguments
type Transaction struct {
	Ledger  payment.LedgerID
	Time    uint64 // seconds since 1970, by the creator's clock
	Request payment.RequestID
	Args    Arguments
}

// Append adds the transaction's bytes to b.
func (t *Transaction) Append(b []byte) []byte {
	b = append(b, txTag...)
	b = append(b, t.Ledger[:]...)
	b = binary.BigEndian.AppendUint64(b, t.Time)
	b = append(b, t.Request[:]...)
	b = append(b, byte(t.Args.Call()), 0, 0, 0, 0)
	start := len(b)
	b = t.Args.append(b)
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return b
}

// ParseTransaction reads a transaction that fills b. Lists, sums and every
// field are within bounds afterwards. The error is ErrTransaction.
func ParseTransaction(b []byte) (*Transaction, error) {
	if len(b) > MaxBody {
		return nil, fmt.Errorf("%w (%d bytes)", ErrTransaction, len(b))
	}
	in := cryptobyte.String(b)
	var t Transaction
	var tag []byte
	var call uint8
	var length uint32
	ok := in.ReadBytes(&tag, len(txTag)) && string(tag) == txTag && in.CopyBytes(t.Ledger[:]) &&
		in.ReadUint64(&t.Time) && t.Time <= payment.MaxTime && in.CopyBytes(t.Request[:]) &&
		in.ReadUint8(&call) && in.ReadUint32(&length) && int64(length) == int64(len(in))
	if !ok {
		return nil, ErrTransaction
	}
	t.Args = newArguments(Call(call))
	if t.Args == nil {
		return nil, fmt.Errorf("%w (call %d is unknown)", ErrTransaction, call)
	}
	if !t.Args.read(&in) || !in.Empty() {
		return nil, fmt.Errorf("%w (arguments of %s)", ErrTransaction, Call(call))
	}
	return &t, nil
}

// ID returns the transaction's name if creator signed it.
func (t *Transaction) ID(creator payment.Account) TxID { return IDOf(creator, t.Append(nil)) }

// IDOf returns the name of the transaction with this body.
func IDOf(creator payment.Account, body []byte) TxID {
	inner := sha256.Sum256(body)
	return sha256.Sum256(bytes.Join([][]byte{[]byte(idTag), creator[:], inner[:]}, nil))
}

// argumentsDigest is what a request id is bound to: SHA-256 of call u8 and
// arguments.
func (t *Transaction) argumentsDigest() digest {
	return sha256.Sum256(t.Args.append([]byte{byte(t.Args.Call())}))
}

// Signed is a transaction with its creator's certificates and signature. It is
// stored before it is sent first, and sent again as it is.
//
//	length u32 | body | certificates u8 | each: length u16, DER | signature 64
type Signed struct {
	Body      []byte
	Chain     [][]byte // DER, leaf first
	Signature payment.Signature
}

// Sign signs a transaction with the creator's key. chain is its certificate
// chain, leaf first, in DER.
func Sign(key *ecdsa.PrivateKey, chain [][]byte, t *Transaction) (*Signed, error) {
	body := t.Append(nil)
	if _, err := ParseTransaction(body); err != nil {
		return nil, fmt.Errorf("sign %s: %w", t.Args.Call(), err)
	}
	sig, err := payment.Sign(key, sha256.Sum256(body))
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", t.Args.Call(), err)
	}
	return &Signed{body, chain, sig}, nil
}

// Append adds the signed transaction's bytes to b.
func (s *Signed) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Body)))
	b = append(b, s.Body...)
	b = append(b, byte(len(s.Chain)))
	for _, der := range s.Chain {
		b = binary.BigEndian.AppendUint16(b, uint16(len(der)))
		b = append(b, der...)
	}
	return append(b, s.Signature[:]...)
}

// ParseSigned reads a signed transaction that fills b, in place. It checks
// bounds only: not the body, nor who signed it. The error is ErrTransaction.
func ParseSigned(b []byte) (*Signed, error) {
	if len(b) > MaxSigned {
		return nil, fmt.Errorf("%w (%d bytes)", ErrTransaction, len(b))
	}
	in := cryptobyte.String(b)
	var s Signed
	var length uint32
	var certificates uint8
	ok := in.ReadUint32(&length) && length <= MaxBody && in.ReadBytes(&s.Body, int(length)) &&
		in.ReadUint8(&certificates) && certificates <= maxChain
	for i := 0; ok && i < int(certificates); i++ {
		var der cryptobyte.String
		ok = in.ReadUint16LengthPrefixed(&der)
		s.Chain = append(s.Chain, der)
	}
	if !ok || !in.CopyBytes(s.Signature[:]) || !in.Empty() {
		return nil, ErrTransaction
	}
	return &s, s.Check()
}

// Check reports whether a transaction that was put together by hand is within
// the bounds of ParseSigned: ErrTransaction.
func (s *Signed) Check() error {
	size := 0
	for _, der := range s.Chain {
		size += len(der)
	}
	if len(s.Body) > MaxBody || len(s.Chain) == 0 || len(s.Chain) > maxChain || size > maxChainSize {
		return ErrTransaction
	}
	return nil
}

// VerifySignature checks that the key signed the body. Whether its certificate
// is the federation's is the caller's question. The errors are payment.ErrKey
// and payment.ErrSignature.
func (s *Signed) VerifySignature(spki []byte) error {
	key, err := payment.ParseKey(spki)
	if err != nil {
		return err
	}
	if !s.Signature.Verify(key, sha256.Sum256(s.Body)) {
		return payment.ErrSignature
	}
	return nil
}
