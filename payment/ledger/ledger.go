package ledger

import (
	"context"
	"errors"
	"iter"

	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

// MaxClockSkew is how far a transaction's time may be from the ledger's clock.
const MaxClockSkew = admission.MaxClockSkew

// ClockOff means that the clock of the machine that signed a transaction and
// the ledger's are more than MaxClockSkew apart.
type ClockOff = admission.ClockOff

// Ledger takes signed transactions, answers queries and tells what happened.
// All methods may be called at once from many goroutines.
type Ledger interface {
	// ID returns SHA-256 of the genesis document.
	ID() payment.LedgerID

	// Submit executes a transaction and returns when its outcome is final. A
	// refusal by the contract is a Receipt whose Code says why, not an error.
	// After an error the transaction may have been executed all the same: send
	// the same Signed again, which has the effect of one and gives the same
	// Receipt. Errors that sending again does not help are those of identity
	// about the certificate, payment.ErrSignature, contract.ErrTransaction,
	// *ClockOff and *WrongClock, after which it can be sent again when the clock
	// is right. The Signed is not changed, by either side, once submitted.
	Submit(ctx context.Context, tx *contract.Signed) (Receipt, error)

	// Query reads one state, after all blocks so far, the last of which is
	// LedgerInfo.Height, and tells the ledger's time. Errors: contract.ErrQuery
	// and *WrongClock.
	Query(ctx context.Context, q contract.Query) (contract.Answer, error)

	// Events yields every block from height on, in order, without gaps, those
	// that are there at once and then each when it is committed, until ctx is
	// done or the ledger is closed, whose error comes last. Heights begin at
	// 1; a height of 0 is the same.
	Events(ctx context.Context, height uint64) iter.Seq2[Block, error]
}

// Receipt is the outcome of a transaction.
type Receipt struct {
	Tx contract.TxID `json:"tx"`
	// Height is that of the block that holds the transaction. If it changed
	// nothing (refused, or all was done before) no block does: then it is the
	// last block that it was judged by.
	Height uint64          `json:"height"`
	Code   contract.Code   `json:"code"`
	Items  []contract.Code `json:"items,omitempty"` // one for each of a list
	Coins  payment.Amount  `json:"coins"`           // that the call moved
}

// Err returns nil if the call, or an item of its list, succeeded, or else the
// code, whose text is a sentence for the user.
func (r Receipt) Err() error { return r.Code.Err() }

// Block is what the transactions of one block did.
type Block struct {
	Height uint64                `json:"height"`
	Time   uint64                `json:"time"` // seconds since 1970, by the ledger's clock
	Events []payment.LedgerEvent `json:"events"`
}

// The errors of an embedded ledger.
var (
	// ErrClosed means that the ledger was closed, or is being closed.
	ErrClosed = errors.New("the ledger is closed: start it again")
	// ErrBroken means that the disk failed in a way after which nothing can be
	// promised. What was acknowledged is safe.
	ErrBroken = errors.New("the ledger cannot write to its disk: check the disk and start it again")
	// ErrDamaged means that the block log is not as it was written.
	ErrDamaged = errors.New("the block log is damaged: restore it from a backup")
	// ErrInUse means that another process has the ledger open.
	ErrInUse = errors.New("the ledger is open in another process: stop that one first")
	// ErrNone means that a folder holds no ledger.
	ErrNone = errors.New("there is no ledger: begin one with federation init")
	// ErrExists means that a folder holds a ledger already.
	ErrExists = errors.New("there is a ledger already: choose another folder")
)
