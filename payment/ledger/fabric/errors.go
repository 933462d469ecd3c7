package fabric

import (
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/status"

	"torrente/payment/admission"
)

// failureOf returns what the chaincode of a gateway's own organisation refused
// with, or nil. A gateway names the endorsers in the details of its own error;
// one that evaluates gives its message.
func failureOf(err error, msp string) *admission.Failure {
	s, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, detail := range s.Details() {
		d, ok := detail.(*gatewaypb.ErrorDetail)
		if !ok || d.GetMspId() != msp {
			continue
		}
		if f := admission.ParseFailure(d.GetMessage()); f != nil {
			return f
		}
	}
	return admission.ParseFailure(s.Message())
}
