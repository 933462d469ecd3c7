package admission

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

// maxFailure bounds the text of a Failure that is read, in bytes.
const maxFailure = 4096

// Failure is an error of admission as it travels: the sentence, and what a
// program decides by.
type Failure struct {
	Sentence string `json:"error"`
	// Refusal is identity.RefusalCode of what is wrong with a certificate, 0 if
	// it is something else.
	Refusal     uint8 `json:"refusal,omitempty"`
	Signature   bool  `json:"signature,omitempty"`   // payment.ErrSignature
	Transaction bool  `json:"transaction,omitempty"` // contract.ErrTransaction
	Query       bool  `json:"query,omitempty"`       // contract.ErrQuery
	// Tx and Ledger are both set for a *ClockOff: the two times in seconds since
	// 1970.
	Tx     int64 `json:"tx,omitempty"`
	Ledger int64 `json:"ledger,omitempty"`
}

// FailureOf writes down an error.
func FailureOf(err error) *Failure {
	f := &Failure{
		Sentence: err.Error(), Refusal: identity.RefusalCode(err), Signature: errors.Is(err, payment.ErrSignature),
		Transaction: errors.Is(err, contract.ErrTransaction), Query: errors.Is(err, contract.ErrQuery),
	}
	if off, ok := errors.AsType[*ClockOff](err); ok {
		f.Tx, f.Ledger = off.Tx.Unix(), off.Ledger.Unix()
	}
	return f
}

// ParseFailure finds a failure in a message around it, which other programs
// may have written text before. It returns nil if there is none.
func ParseFailure(message string) *Failure {
	_, text, found := strings.Cut(message, "{")
	if !found || len(text) > maxFailure {
		return nil
	}
	f := new(Failure)
	if json.NewDecoder(strings.NewReader("{"+text)).Decode(f) != nil || f.Sentence == "" {
		return nil
	}
	return f
}

// Text writes the failure as one line of JSON, within what ParseFailure reads.
func (f *Failure) Text() string {
	short := *f
	if len(short.Sentence) > maxFailure/8 { // JSON makes six bytes of one at the worst
		short.Sentence = strings.ToValidUTF8(short.Sentence[:maxFailure/8], "")
	}
	text, err := json.Marshal(&short)
	if err != nil { // a struct of text and numbers has no error
		return `{"error":"the failure cannot be written down"}`
	}
	return string(text)
}

func (f *Failure) Error() string { return f.Sentence }

// Unwrap returns the error that callers decide by, or nil: one of identity's
// about certificates, payment.ErrSignature, *ClockOff, contract.ErrTransaction
// or contract.ErrQuery.
func (f *Failure) Unwrap() error {
	switch {
	case f.Tx != 0 && f.Ledger != 0:
		return &ClockOff{Tx: time.Unix(f.Tx, 0), Ledger: time.Unix(f.Ledger, 0)}
	case f.Refusal != 0:
		return identity.RefusalOf(f.Refusal).Reason
	case f.Signature:
		return payment.ErrSignature
	case f.Transaction:
		return contract.ErrTransaction
	case f.Query:
		return contract.ErrQuery
	}
	return nil
}

// Final reports whether sending the same again cannot help.
func (f *Failure) Final() bool { return f.Unwrap() != nil }
