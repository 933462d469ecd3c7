package fabric

import (
	"errors"
	"fmt"
	"strings"

	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/status"

	"torrente/payment/admission"
)

// ErrIdentity means that the organisations' peers do not take the Fabric identity
// of the profile. It says nothing of who signed the transaction.
var ErrIdentity = errors.New("the ledger's peers refuse the certificate in the connection profile: have your organisation issue another")

// refusals are the final errors of organisations, by their MSPs.
type refusals map[string]error

// note adds what a gateway's own organisation said, if that is final.
func (r refusals) note(g *gateway, err error) {
	if refusal := refusalOf(err, g.msp); refusal != nil {
		r[g.msp] = refusal
	}
}

// believed returns a refusal that enough organisations agree on, or the own
// organisation's when all have been asked and none has taken the transaction:
// until then it may be the own one's clock that is wrong.
func (r refusals) believed(p *Profile, askedAll bool) error {
	for _, one := range r {
		alike := 0
		for _, other := range r {
			if sameRefusal(one, other) {
				alike++
			}
		}
		if alike >= p.witnesses() {
			return one
		}
	}
	if askedAll {
		return r[p.MSP]
	}
	return nil
}

// sameRefusal compares what a program decides by; sentences name the time.
func sameRefusal(one, other error) bool {
	a, refused := errors.AsType[*admission.Failure](one)
	b, both := errors.AsType[*admission.Failure](other)
	if !refused || !both {
		return refused == both
	}
	return a.Refusal == b.Refusal && a.Signature == b.Signature && a.Transaction == b.Transaction && a.Query == b.Query &&
		a.Tx == b.Tx && (a.Ledger == 0) == (b.Ledger == 0)
}

// refusalOf returns what an organisation refused with for good: a
// *admission.Failure of its chaincode, or ErrIdentity of its peer. It is nil if
// the error may pass. A gateway names the endorsers in the details of its own
// error; one that evaluates gives their message as its own.
func refusalOf(err error, msp string) error {
	s, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, detail := range s.Details() {
		if d, ok := detail.(*gatewaypb.ErrorDetail); ok && d.GetMspId() == msp {
			if refusal := finalIn(d.GetMessage()); refusal != nil {
				return refusal
			}
		}
	}
	return finalIn(s.Message())
}

// identityRefused is what peers and orderers of Fabric 3.1 write about a
// certificate of no member, a revoked one and an expired one.
var identityRefused = []string{"access denied", "creator is malformed", "identity expired"}

func finalIn(message string) error {
	if f := admission.ParseFailure(message); f != nil && f.Final() {
		return f
	}
	for _, text := range identityRefused {
		if strings.Contains(message, text) {
			return fmt.Errorf("%w (%.200s)", ErrIdentity, message)
		}
	}
	return nil
}
