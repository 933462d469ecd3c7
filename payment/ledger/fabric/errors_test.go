package fabric

import (
	"context"
	"errors"
	"testing"

	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"torrente/identity"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

// What an endorser's chaincode says is found, wherever the gateway puts it.
func TestFailuresAreFound(t *testing.T) {
	text := "chaincode response 500, " + admission.FailureOf(identity.ErrOtherFederation).Text()
	detailed := must[*status.Status](t)(status.New(codes.Aborted, "failed to endorse").WithDetails(
		&gatewaypb.ErrorDetail{Address: "a", MspId: "Alpha", Message: "no connection"}, &gatewaypb.ErrorDetail{Address: "b", MspId: "Beta", Message: text}))
	for what, err := range map[string]error{"in details": detailed.Err(), "in the message": status.Error(codes.Unknown, "evaluate: "+text)} {
		if f := failureOf(err, "Beta"); f == nil || !errors.Is(f, identity.ErrOtherFederation) || !f.Final() {
			t.Errorf("%s: %+v", what, f)
		}
	}
	if f := failureOf(detailed.Err(), "Alpha"); f != nil {
		t.Errorf("of another organisation: %+v", f)
	}
	waits := admission.FailureOf(contract.ErrNoLedger).Text()
	if f := failureOf(status.Error(codes.Unknown, waits), "Beta"); f == nil || f.Final() {
		t.Errorf("a ledger that has not begun: %+v", f)
	}
	for _, err := range []error{context.Canceled, status.Error(codes.Unavailable, "connection refused"), errInvalid} {
		if f := failureOf(err, "Beta"); f != nil {
			t.Errorf("%v: %+v", err, f)
		}
	}
}
