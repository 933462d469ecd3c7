package contract

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// ErrNoLedger means that Init has not been called on a State.
var ErrNoLedger = errors.New("the ledger's state is empty: begin it with its genesis document")

// Result is what a transaction did.
type Result struct {
	Code  Code           `json:"code"`
	Items []Code         `json:"items,omitempty"` // of a list, in its order
	Coins payment.Amount `json:"coins"`           // frozen, redeemed, returned, swept, transferred, minted or reassigned
	// Wrote is false if the State is as before: the call was refused, or all
	// of it was done before. Such a transaction need not be kept.
	Wrote  bool                  `json:"-"`
	Events []payment.LedgerEvent `json:"-"`
}

// append writes code u8, coins u64, items u16 and each u8: what a block's
// results hash and a request's row hold.
func (r *Result) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, byte(r.Code)), uint64(r.Coins))
	return appendList(b, r.Items, func(b []byte, c *Code) []byte { return append(b, byte(*c)) })
}

func (r *Result) read(in *cryptobyte.String) bool {
	return in.ReadUint8((*uint8)(&r.Code)) && in.ReadUint64((*uint64)(&r.Coins)) &&
		readList(in, &r.Items, func(in *cryptobyte.String, c *Code) bool { return in.ReadUint8((*uint8)(c)) })
}

// Append writes the result's bytes to b.
func (r *Result) Append(b []byte) []byte { return r.append(b) }

// ParseResult reads a result that fills b, without events.
func ParseResult(b []byte) (Result, error) {
	var r Result
	in := cryptobyte.String(b)
	if !r.read(&in) || !in.Empty() {
		return r, fmt.Errorf("result of %d bytes: %w", len(b), ErrDamaged)
	}
	return r, nil
}

// run is one transaction while it executes.
type run struct {
	*overlay
	tx      *Transaction
	id      TxID
	creator payment.Account
	msp     string
	org     organisation
	result  Result
	hashes  uint32 // spent of MaxHashes
}

// Apply executes a transaction that creator has signed. A refusal is in the
// result's Code, and changes nothing; an error means that the State failed,
// and that nothing is known of the call.
func Apply(st State, creator Creator, tx *Transaction) (Result, error) {
	account := creator.Account()
	r := &run{overlay: newOverlay(st), tx: tx, id: tx.ID(account), creator: account, msp: creator.MSP}
	rules := tx.Args.Call().rules()
	code, repeated := r.admit(rules)
	if code == OK && !repeated {
		code = rules.do(r)
	}
	if r.err != nil {
		return Result{}, fmt.Errorf("%s: %w", tx.Args.Call(), r.err)
	}
	if repeated && code == OK {
		return r.result, nil
	}
	r.result.Code = code
	if !code.Success() {
		return Result{Code: code, Items: r.result.Items}, nil
	}
	if rules.once && code == OK {
		r.put(keyRequest(account, tx.Request), request{tx.argumentsDigest(), r.result})
	}
	var err error
	if r.result.Wrote, err = r.commit(); err != nil {
		return Result{}, fmt.Errorf("%s: %w", tx.Args.Call(), err)
	}
	return r.result, nil
}

// admit decides whether the call is executed at all: ledger, membership,
// revocation, office, and whether it was done before, whose result it fills in.
func (r *run) admit(rules *rules) (code Code, repeated bool) {
	requestKey := keyRequest(r.creator, r.tx.Request)
	r.load(admissionKeys(r.msp, r.creator, r.tx)...)
	if !validMSP(r.msp) || !r.read(keyOrganisation(r.msp), &r.org) {
		return r.unknownMember(), false
	}
	switch {
	case r.org.ledger != r.tx.Ledger:
		return OtherLedger, false
	case !rules.free && r.has(keyRevoked(r.creator)):
		return Revoked, false
	case rules.admin && r.org.administrator != r.creator:
		return NotAdmin, false
	}
	if !rules.once || !r.has(requestKey) {
		return OK, false
	}
	var before request
	if r.read(requestKey, &before) && before.digest != r.tx.argumentsDigest() {
		return RequestReused, false
	}
	r.result = before.result
	return OK, true
}

// unknownMember says what is wrong with a transaction of an organisation that is
// not there: if there is no ledger, that is no refusal.
func (r *run) unknownMember() Code {
	var l ledgerRow
	switch {
	case !r.read(keyLedger, &l):
		if r.err == nil {
			r.err = ErrNoLedger
		}
		return NoneDone
	case l.id != r.tx.Ledger:
		return OtherLedger
	}
	return UnknownMember
}

// admissionKeys are the rows that admit reads.
func admissionKeys(msp string, creator payment.Account, tx *Transaction) []string {
	rules, keys := tx.Args.Call().rules(), []string{keyOrganisation(msp)}
	if !rules.free {
		keys = append(keys, keyRevoked(creator))
	}
	if rules.once {
		keys = append(keys, keyRequest(creator, tx.Request))
	}
	return keys
}

// majority reports whether so many organisations are more than half of them
// (L9).
func (r *run) majority(votes int) bool { return votes*2 > len(r.organisations()) }

// each executes the items of a list; one that fails undoes what it did alone.
func (r *run) each(n int, item func(i int) Code) Code {
	done := NoneDone
	for i := range n {
		mark, events, coins := r.mark(), len(r.result.Events), r.result.Coins
		code := item(i)
		if code.Success() {
			done = OK
		} else {
			r.rollback(mark)
			r.result.Events, r.result.Coins = r.result.Events[:events], coins
		}
		r.result.Items = append(r.result.Items, code)
	}
	return done
}

// distinct reports whether no two items of a list have the same key.
func distinct[T any, K comparable](items []T, key func(*T) K) bool {
	seen := make(map[K]struct{}, len(items))
	for i := range items {
		k := key(&items[i])
		if _, twice := seen[k]; twice {
			return false
		}
		seen[k] = struct{}{}
	}
	return true
}

func (r *run) emit(e payment.LedgerEvent) { r.result.Events = append(r.result.Events, e) }

// moved adds to the coins that the result reports. They are part of a balance
// or of an intention, whose sums were checked, so they cannot wrap.
func (r *run) moved(coins payment.Amount) { r.result.Coins += coins }
