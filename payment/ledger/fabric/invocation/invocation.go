// Package invocation is what a client and the chaincode say to each other: the
// names of the chaincode's functions, their arguments, answers and events.
//
// It is a package of its own because both sides need it and neither may carry
// the other: the chaincode is a module without the Fabric client, the node is
// one without the chaincode shim.
//
//	function | argument                  | answer
//	begin    | genesis document          | Outcome, without Tx and Code
//	submit   | contract.Signed, as bytes | Outcome
//	query    | contract.Query, as JSON   | contract.Answer, as JSON
//
// A transaction that is not admitted, and a query that is malformed, end in an
// error response whose message is a Failure.
package invocation

import (
	"errors"

	"torrente/payment"
	"torrente/payment/contract"
)

// The functions of the chaincode. Each has one argument.
const (
	Begin  = "begin"
	Submit = "submit"
	Query  = "query"
)

// What the chaincode refuses however often it is asked. Clients know them by
// their sentences, which a Failure begins with or has in it.
var (
	// ErrFunction means that a call is none of these.
	ErrFunction = errors.New("the chaincode has no such function: update this program")
	// ErrAnswer means that an answer, or a transaction's events, would be too long.
	ErrAnswer = errors.New("that makes too long an answer: ask for less at once")
)

// EventName is the name of the one event of a transaction. Its payload is an
// Event.
const EventName = "torrente"

// Bounds of what is sent, in bytes. A submitted transaction has at most
// contract.MaxSigned, a genesis document contract.MaxGenesis.
const (
	MaxQuery = 4096
	// MaxEvent bounds an event: a call has 200 items, each with an event of
	// some 500 bytes.
	MaxEvent = 1 << 20
	// MaxAnswer bounds what a function answers: a page of 200 commitments is
	// about 250 KiB, a page of 200 roots about 1 MiB.
	MaxAnswer = 4 << 20
)

// ReceiptKey is the row in which the outcome of a transaction is kept. No row of
// the contract begins like it.
func ReceiptKey(id contract.TxID) string { return "receipt/" + id.String() }

// Outcome is what submit answers.
type Outcome struct {
	Tx    contract.TxID   `json:"tx"`
	Code  contract.Code   `json:"code"`
	Items []contract.Code `json:"items,omitempty"`
	Coins payment.Amount  `json:"coins"`
	// Wrote says that the transaction changes the state and has to be ordered.
	// One that does not is answered by its endorsement alone.
	Wrote bool `json:"wrote,omitempty"`
	// Done is the id of the Fabric transaction, 64 hex digits, that executed
	// the same transaction before; empty if none did.
	Done string `json:"done,omitempty"`
}

// Event is what a committed transaction did.
type Event struct {
	Tx contract.TxID `json:"tx"`
	// Time is the transaction's own, in seconds since 1970. Every endorser found
	// it within five minutes of its clock; a time of theirs would differ.
	Time   uint64                `json:"time"`
	Events []payment.LedgerEvent `json:"events,omitempty"`
}
