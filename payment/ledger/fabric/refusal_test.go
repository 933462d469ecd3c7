package fabric

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"torrente/identity"
	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// What an endorser's chaincode says is found, wherever the gateway puts it.
func TestRefusalsAreFound(t *testing.T) {
	text := "chaincode response 500, " + admission.FailureOf(identity.ErrOtherFederation).Text()
	detailed := must[*status.Status](t)(status.New(codes.Aborted, "failed to endorse").WithDetails(
		&gatewaypb.ErrorDetail{Address: "a", MspId: "Alpha", Message: "no connection"}, &gatewaypb.ErrorDetail{Address: "b", MspId: "Beta", Message: text}))
	for what, err := range map[string]error{"in details": detailed.Err(), "in the message": status.Error(codes.Unknown, "evaluate: "+text)} {
		if f := refusalOf(err, "Beta"); !errors.Is(f, identity.ErrOtherFederation) {
			t.Errorf("%s: %+v", what, f)
		}
	}
	if f := refusalOf(detailed.Err(), "Alpha"); f != nil {
		t.Errorf("of another organisation: %+v", f)
	}
	waits := admission.FailureOf(contract.ErrNoLedger).Text()
	if f := refusalOf(status.Error(codes.Unknown, waits), "Beta"); f != nil {
		t.Errorf("a ledger that has not begun: %+v", f)
	}
	for _, err := range []error{context.Canceled, status.Error(codes.Unavailable, "connection refused"), errInvalid} {
		if f := refusalOf(err, "Beta"); f != nil {
			t.Errorf("%v: %+v", err, f)
		}
	}
}

// A refusal is believed when enough refuse alike. The own organisation's stands
// when nobody takes the transaction: its clock may be the wrong one.
func TestWhoseRefusalIsBelieved(t *testing.T) {
	p := &Profile{MSP: "Own", Organisations: 3}
	expired := admission.FailureOf(identity.ErrExpired)
	off := func(ledger int64) *admission.Failure {
		return admission.FailureOf(&admission.ClockOff{Tx: time.Unix(1, 0), Ledger: time.Unix(ledger, 0)})
	}
	for what, one := range map[string]struct {
		said refusals
		all  bool
		want bool
	}{
		"none":                         {refusals{}, true, false},
		"the own one, others to ask":   {refusals{"Own": expired}, false, false},
		"the own one, all asked":       {refusals{"Own": expired}, true, true},
		"one other, all asked":         {refusals{"A": expired}, true, false},
		"two others":                   {refusals{"A": off(1000), "B": off(1001)}, false, true},
		"two others, of other reasons": {refusals{"A": expired, "B": off(1000)}, true, false},
	} {
		if f := one.said.believed(p, one.all); (f != nil) != one.want {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

// What cannot become right by being sent again is final, and says what it is.
func TestFinalRefusals(t *testing.T) {
	failure := func(err error) string { return "failed: " + admission.FailureOf(fmt.Errorf("%w (more)", err)).Text() }
	aborted := "received unsuccessful response from orderer: status="
	for message, want := range map[string]error{
		failure(contract.ErrGenesis):       contract.ErrGenesis,
		failure(contract.ErrDamaged):       contract.ErrDamaged,
		failure(invocation.ErrFunction):    invocation.ErrFunction,
		failure(invocation.ErrAnswer):      invocation.ErrAnswer,
		aborted + "FORBIDDEN, info=policy": ErrIdentity,
		aborted + "BAD_REQUEST, info=message payload is 11 bytes and exceeds maximum allowed 10 bytes": errTooLong,
		aborted + "SERVICE_UNAVAILABLE, info=no leader":                                                nil,
		failure(errors.New("the disk is full")):                                                        nil,
	} {
		got := refusalOf(status.Error(codes.Aborted, message), "Own")
		if !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %v", message, got)
		}
		if want != nil && (!sameRefusal(got, got) || sameRefusal(got, admission.FailureOf(identity.ErrExpired))) {
			t.Errorf("%v is not compared", got)
		}
	}
	if sameRefusal(refusalOf(status.Error(codes.Aborted, failure(contract.ErrGenesis)), "A"), refusalOf(status.Error(codes.Aborted, failure(contract.ErrDamaged)), "B")) {
		t.Error("two reasons are one")
	}
}

// A peer's word about this machine's clock is one that callers decide by.
func TestTheClockOfThisMachine(t *testing.T) {
	err := refusalOf(status.Error(codes.Aborted, "error in simulation: request unauthorized due to incorrect timestamp 2026-01-02T03:14:05Z, "+
		"peer time 2026-01-02T03:04:05Z, peer.authentication.timewindow 5m0s"), "Own")
	off, ok := errors.AsType[*admission.ClockOff](err)
	if !ok || off.Tx.Sub(off.Ledger) != 10*time.Minute {
		t.Fatalf("%v", err)
	}
	if err.Error() != "the clock of this machine (2026-01-02 03:14:05) is 10m0s ahead of a ledger's peer (2026-01-02 03:04:05): set the wrong one right" {
		t.Error(err)
	}
}
