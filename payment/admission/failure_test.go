package admission

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

// What callers decide by is the same after a failure has travelled.
func TestFailuresTravel(t *testing.T) {
	for _, want := range []error{
		identity.ErrMalformed, identity.ErrOtherFederation, identity.ErrRootRemoved, identity.ErrExpired,
		payment.ErrSignature, contract.ErrTransaction, contract.ErrQuery,
	} {
		f := ParseFailure("chaincode response 500, " + FailureOf(fmt.Errorf("call: %w", want)).Text())
		if f == nil || !errors.Is(f, want) || !f.Final() || f.Error() != "call: "+want.Error() {
			t.Errorf("%v came as %+v", want, f)
		}
	}
	off := &ClockOff{Tx: time.Unix(100, 0), Ledger: time.Unix(2000, 0)}
	f := ParseFailure(FailureOf(off).Text())
	if got, ok := errors.AsType[*ClockOff](f); !ok || got.Error() != off.Error() {
		t.Errorf("%+v", f)
	}
	if f := ParseFailure(FailureOf(errors.New("the disk is full")).Text()); f == nil || f.Final() {
		t.Errorf("%+v", f)
	}
	long := FailureOf(errors.New(strings.Repeat("\x01é", 100_000))).Text()
	if f := ParseFailure(long); f == nil || len(f.Sentence) == 0 || len(long) > maxFailure {
		t.Errorf("%d bytes, %+v", len(long), f)
	}
	for _, text := range []string{"", "x", "{", "{}", `{"error":""}`, `{"error":1}`, "{" + strings.Repeat(" ", 2*maxFailure)} {
		if f := ParseFailure(text); f != nil {
			t.Errorf("%.40q: %+v", text, f)
		}
	}
}

func FuzzParseFailure(f *testing.F) {
	f.Add(FailureOf(contract.ErrQuery).Text())
	f.Add("chaincode response 500, {")
	f.Fuzz(func(t *testing.T, text string) {
		if got := ParseFailure(text); got != nil && ParseFailure(got.Text()) == nil {
			t.Errorf("%q is lost on its second way", text)
		}
	})
}
