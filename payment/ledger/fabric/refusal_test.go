package fabric

import (
	"context"
	"errors"
	"testing"
	"time"

	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"torrente/identity"
	"torrente/payment/admission"
	"torrente/payment/contract"
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
