package payment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrID means that a text is not an identifier in lower-case hex. There is one
// spelling only: identifiers are keys on the ledger.
var ErrID = errors.New("not an identifier in lower-case hex")

// Identifiers. Each is a SHA-256 but ChainID and RequestID, which are random.
// As text they are lower-case hex.
type (
	// Account is who owns coins: see AccountOf.
	Account [32]byte
	// LedgerID is SHA-256 of the ledger's genesis document.
	LedgerID [32]byte
	// TorrentID is SHA-256 of the raw info dictionary, for v1, v2 and hybrid
	// torrents alike.
	TorrentID [32]byte
	// IntentionID names coins frozen for one torrent: see IntentionOf.
	IntentionID [32]byte
	// CommitmentID is SHA-256 of a commitment's 256 bytes.
	CommitmentID [32]byte
	// ChainID is random and inside every hash of a chain, so that a link of
	// one chain is none of another.
	ChainID [12]byte
	// RequestID is random, chosen once for one wish of a user: whatever is
	// sent again with it has the effect of one.
	RequestID [16]byte
	// Link is one hash of a chain.
	Link [32]byte
)

// intentionTag opens the bytes that an IntentionID is the hash of.
const intentionTag = "TPI"

// maxMSPBytes is what fits the length byte in AccountOf.
const maxMSPBytes = 255

// AccountOf returns the account of a key in an organisation: SHA-256 of
// len(MSP) u8, MSP, SubjectPublicKeyInfo (section 2). It outlives certificates.
// An MSP longer than 255 bytes has no account; nobody can be enrolled under
// one, so the zero Account is returned, which owns nothing.
func AccountOf(msp string, spki []byte) Account {
	if len(msp) > maxMSPBytes {
		return Account{}
	}
	h := sha256.New()
	h.Write([]byte{byte(len(msp))})
	h.Write([]byte(msp))
	h.Write(spki)
	return Account(h.Sum(nil))
}

// IntentionOf returns the id of the intention that a Declare with this request
// makes: SHA-256 of "TPI", ledger, payer, torrent, request (section 2). It is
// known before the call, so that Declare can carry commitments.
func IntentionOf(ledger LedgerID, payer Account, torrent TorrentID, request RequestID) IntentionID {
	return sha256.Sum256(bytes.Join([][]byte{[]byte(intentionTag), ledger[:], payer[:], torrent[:], request[:]}, nil))
}

// Short returns the 8 bytes by which torrents and pay_hello name a ledger.
func (l LedgerID) Short() [8]byte { return [8]byte(l[:8]) }

// IsZero reports whether no account is named. Nobody has the key of it.
func (a Account) IsZero() bool { return a == Account{} }

func unhex(dst, text []byte) error {
	if len(text) != hex.EncodedLen(len(dst)) || !bytes.Equal(bytes.ToLower(text), text) {
		return fmt.Errorf("%w of %d bytes: %.80q", ErrID, len(dst), text)
	}
	if _, err := hex.Decode(dst, text); err != nil {
		return fmt.Errorf("%w of %d bytes: %.80q", ErrID, len(dst), text)
	}
	return nil
}

func (id Account) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id Account) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *Account) UnmarshalText(text []byte) error { return unhex(id[:], text) }

func (id LedgerID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id LedgerID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *LedgerID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

func (id TorrentID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id TorrentID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *TorrentID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

func (id IntentionID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id IntentionID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *IntentionID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

func (id CommitmentID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id CommitmentID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *CommitmentID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

func (id ChainID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id ChainID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *ChainID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

func (id RequestID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id RequestID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *RequestID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

func (id Link) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes lower-case hex.
func (id Link) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads lower-case hex. The error is ErrID.
func (id *Link) UnmarshalText(text []byte) error { return unhex(id[:], text) }
