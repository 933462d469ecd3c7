package remote

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

// Reason is a word for a program to decide by, beside the sentence for people.
type Reason string

// The reasons of a Failure.
const (
	ReasonMalformed   Reason = "malformed"   // the request is not as it should be
	ReasonCertificate Reason = "certificate" // the client's certificate is missing or refused
	ReasonInvite      Reason = "invite"      // unknown, used or expired
	ReasonName        Reason = "name"        // taken, or none that can be given
	ReasonClock       Reason = "clock"       // the transaction's time is too far from the ledger's
	ReasonTransaction Reason = "transaction" // the transaction is refused before it is executed
	ReasonQuery       Reason = "query"       // the query is malformed
	ReasonBusy        Reason = "busy"        // too much is asked: later is better
	ReasonUnavailable Reason = "unavailable" // the ledger is stopping, or broken
)

// Failure is the body of every answer that is no success.
type Failure struct {
	Error  string    `json:"error"` // one sentence
	Reason Reason    `json:"reason"`
	Time   time.Time `json:"time"` // the ledger's clock
	// Refusal is identity.RefusalCode of what is wrong with a certificate, 0 if
	// it is something else.
	Refusal uint8 `json:"refusal,omitempty"`
	// Signature is set if the transaction's signature is not its creator's.
	Signature bool `json:"signature,omitempty"`
}

// Unreachable means that no answer came. What was sent may have arrived: send
// the same bytes again.
type Unreachable struct {
	URL string
	Err error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("the ledger at %s cannot be reached (%v): check the network, or try again later", e.URL, cause(e.Err))
}

// Unwrap returns why.
func (e *Unreachable) Unwrap() error { return e.Err }

// cause leaves out the address that net/http puts before the reason.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// Stranger means that the portal is not the one of this federation: its
// certificate ends in no root that the federation trusts.
type Stranger struct {
	URL string
	Err error
}

func (e *Stranger) Error() string {
	return fmt.Sprintf("the machine at %s is not the portal of your federation (%v): check the address, or enroll again if the federation has a new root", e.URL, e.Err)
}

// Unwrap returns why.
func (e *Stranger) Unwrap() error { return e.Err }

// Refused is the portal's answer that it does not do what it was asked.
type Refused struct {
	URL     string
	Status  int // of HTTP
	Failure Failure
}

func (e *Refused) Error() string {
	return fmt.Sprintf("the federation at %s refused: %s", e.URL, e.Failure.Error)
}

// Unwrap returns the error that the ledger gave, as far as callers decide by it:
// one of identity's about certificates, payment.ErrSignature,
// contract.ErrTransaction or contract.ErrQuery.
func (e *Refused) Unwrap() error {
	switch {
	case e.Failure.Refusal != 0:
		return identity.RefusalOf(e.Failure.Refusal).Reason
	case e.Failure.Signature:
		return payment.ErrSignature
	case e.Failure.Reason == ReasonTransaction:
		return contract.ErrTransaction
	case e.Failure.Reason == ReasonQuery:
		return contract.ErrQuery
	}
	return nil
}

// temporary reports whether the same request may succeed later.
func (e *Refused) temporary() bool {
	return e.Failure.Reason == ReasonBusy || e.Failure.Reason == ReasonUnavailable
}
