package contract

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// The bounds of one call (section 5).
const (
	MaxItems  = 200     // of a list
	MaxHashes = 1 << 20 // of links checked
	MaxInfo   = 1 << 20 // bytes of an info dictionary
	MaxFiles  = 10_000  // of a torrent
	MaxCaps   = 64      // of a commitment
)

// MinMargin and MaxMargin bound, in percent, how much more than the price of
// the units a Declare freezes.
const (
	MinMargin = 100
	MaxMargin = 150
)

const (
	maxMSPBytes  = 64
	maxSPKIBytes = 256
	maxRootBytes = 4096
)

// Arguments are what a call is given; each call has a type of its own, by
// pointer. All fields are written one after the other, numbers big endian,
// lists with their length as u16 before them.
type Arguments interface {
	Call() Call
	append(b []byte) []byte
	read(in *cryptobyte.String) bool
}

func makeArguments[T any, P interface {
	*T
	Arguments
}]() Arguments {
	return P(new(T))
}

func newArguments(c Call) Arguments {
	r := c.rules()
	if r == nil {
		return nil
	}
	return r.make()
}

// RegisterTorrent makes a torrent known; the ledger computes its units.
type RegisterTorrent struct {
	Info []byte // the raw info dictionary, at most 1 MiB and 10,000 files
}

// Open registers a commitment with its first cap, in units.
type Open struct {
	Commitment payment.Commitment
	Cap        uint32
}

// Declare freezes Units x price x Margin / 100 coins, rounded up, for a
// torrent. It makes the intention payment.IntentionOf(ledger, creator, torrent,
// request), on which the opens it carries are registered at once. The price is
// the ledger's, so the payer says up to which it consents: what was asked for
// at one price is never frozen at a higher one. The credits it names are swept
// before, so that who was given coins need not wait for a Sweep.
type Declare struct {
	Torrent  payment.TorrentID
	Units    uint64
	Margin   uint16 // percent, 100 to 150
	MaxPrice payment.Amount
	Opens    []Open
	Credits  []TxID // those that are not there were swept before
}

// AddFunds freezes more coins, at the intention's own price: that was bounded
// when it was declared, and does not move (L9).
type AddFunds struct {
	Intention payment.IntentionID
	Units     uint64
	Margin    uint16 // percent, 100 to 150
}

// OpenMany registers commitments.
type OpenMany struct{ Opens []Open }

// TopUp writes cap number K, from 1 to 63: each follows the one before.
type TopUp struct {
	Commitment payment.CommitmentID
	K          uint8
	Cap        uint32
}

// TopUpMany raises caps.
type TopUpMany struct{ TopUps []TopUp }

// Redeem claims all units up to Index under cap number K.
type Redeem struct {
	Commitment payment.CommitmentID
	K          uint8
	Index      uint32
	Link       payment.Link
}

// RedeemMany claims links. The coins become one credit for each receiver,
// named by the transaction.
type RedeemMany struct{ Redeems []Redeem }

// Release files a signed close; K is the number of the last cap.
type Release struct {
	Close payment.SignedClose
	K     uint8
}

// ReleaseMany files signed closes: what the receivers will not redeem is free.
type ReleaseMany struct{ Releases []Release }

// Close ends an intention: what no receiver may have any more returns at once,
// and the rest as Release and Refund free it.
type Close struct{ Intention payment.IntentionID }

// Settle names an expired commitment and its last cap.
type Settle struct {
	Commitment payment.CommitmentID
	K          uint8
}

// Refund frees what was not redeemed of commitments 30 minutes after expiry.
type Refund struct{ Settles []Settle }

// Sweep adds the credits of these transactions to the creator's balance.
type Sweep struct{ Credits []TxID }

// Transfer gives coins to an account, as a credit named by the transaction.
type Transfer struct {
	To    payment.Account
	Coins payment.Amount
}

// SetDelegate lets another account redeem for the creator; zero ends it. The
// coins stay the creator's.
type SetDelegate struct{ Delegate payment.Account }

// Inherit takes what an account has come by that was reassigned to the creator:
// its balance, and the credits of these transactions, of none perhaps.
type Inherit struct {
	From    payment.Account
	Credits []TxID
}

// Revoke stops a key of an organisation from spending.
type Revoke struct {
	MSP  string
	SPKI []byte
}

// Reinstate undoes Revoke.
type Reinstate struct{ Account payment.Account }

// AddRoot lets a certificate authority issue certificates for an organisation.
type AddRoot struct {
	MSP         string
	Certificate []byte // DER, at most 4096 bytes
}

// RemoveRoot ends the trust in one, named by SHA-256 of its certificate.
type RemoveRoot struct {
	MSP         string
	Fingerprint [32]byte
}

// Call returns the number of the call.
func (*RegisterTorrent) Call() Call { return CallRegisterTorrent }

// Call returns the number of the call.
func (*Declare) Call() Call { return CallDeclare }

// Call returns the number of the call.
func (*AddFunds) Call() Call { return CallAddFunds }

// Call returns the number of the call.
func (*OpenMany) Call() Call { return CallOpenMany }

// Call returns the number of the call.
func (*TopUpMany) Call() Call { return CallTopUpMany }

// Call returns the number of the call.
func (*RedeemMany) Call() Call { return CallRedeemMany }

// Call returns the number of the call.
func (*ReleaseMany) Call() Call { return CallReleaseMany }

// Call returns the number of the call.
func (*Close) Call() Call { return CallClose }

// Call returns the number of the call.
func (*Refund) Call() Call { return CallRefund }

// Call returns the number of the call.
func (*Sweep) Call() Call { return CallSweep }

// Call returns the number of the call.
func (*Transfer) Call() Call { return CallTransfer }

// Call returns the number of the call.
func (*SetDelegate) Call() Call { return CallSetDelegate }

// Propose asks all organisations to agree to a decision. The proposal is named
// by its transaction; the creator's organisation agrees by it.
type Propose struct{ Decision Decision }

// Approve says that the creator's organisation agrees to a proposal.
type Approve struct{ Proposal TxID }

// Call returns the number of the call.
func (*Inherit) Call() Call { return CallInherit }

// Call returns the number of the call.
func (*Propose) Call() Call { return CallPropose }

// Call returns the number of the call.
func (*Approve) Call() Call { return CallApprove }

// Call returns the number of the call.
func (*Revoke) Call() Call { return CallRevoke }

// Call returns the number of the call.
func (*Reinstate) Call() Call { return CallReinstate }

// Call returns the number of the call.
func (*AddRoot) Call() Call { return CallAddRoot }

// Call returns the number of the call.
func (*RemoveRoot) Call() Call { return CallRemoveRoot }

func appendList[T any](b []byte, items []T, one func(b []byte, item *T) []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(items)))
	for i := range items {
		b = one(b, &items[i])
	}
	return b
}

// readList reads at most MaxItems items. It allocates as it reads, so a length
// that lies costs nothing.
func readList[T any](in *cryptobyte.String, items *[]T, one func(in *cryptobyte.String, item *T) bool) bool {
	return readUpTo(in, MaxItems, items, one)
}

func readUpTo[T any](in *cryptobyte.String, most uint16, items *[]T, one func(in *cryptobyte.String, item *T) bool) bool {
	var n uint16
	if !in.ReadUint16(&n) || n > most {
		return false
	}
	for range n {
		var item T
		if !one(in, &item) {
			return false
		}
		*items = append(*items, item)
	}
	return true
}

// readSome is readList for a list that makes no sense empty.
func readSome[T any](in *cryptobyte.String, items *[]T, one func(in *cryptobyte.String, item *T) bool) bool {
	return readList(in, items, one) && len(*items) > 0
}
