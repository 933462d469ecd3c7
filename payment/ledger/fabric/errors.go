package fabric

import (
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/status"

	"torrente/payment/admission"
)

// failureIn returns what an endorser's chaincode refused with, or nil. A
// gateway gives the endorsers' messages as details of its own error.
func failureIn(err error) *admission.Failure {
	s, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, detail := range s.Details() {
		d, ok := detail.(*gatewaypb.ErrorDetail)
		if !ok {
			continue
		}
		if f := admission.ParseFailure(d.GetMessage()); f != nil {
			return f
		}
	}
	return admission.ParseFailure(s.Message())
}
