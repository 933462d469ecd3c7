package fabric

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/status"

	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
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
	for _, kind := range []error{ErrIdentity, errTooLong, contract.ErrGenesis, contract.ErrDamaged, invocation.ErrFunction, invocation.ErrAnswer} {
		if errors.Is(one, kind) != errors.Is(other, kind) {
			return false
		}
	}
	a, refused := errors.AsType[*admission.Failure](one)
	b, both := errors.AsType[*admission.Failure](other)
	if !refused || !both {
		return refused == both
	}
	return a.Refusal == b.Refusal && a.Signature == b.Signature && a.Transaction == b.Transaction && a.Query == b.Query &&
		a.Tx == b.Tx && (a.Ledger == 0) == (b.Ledger == 0)
}

// refusalOf returns what an organisation refused with for good: a
// *admission.Failure of its chaincode or, about the clock, its peer; a *wrongCall
// of its chaincode; ErrIdentity or errTooLong of its peer or an orderer. It is nil
// if the error may pass. A gateway names the endorsers in the details of its own
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

// errTooLong means that an orderer takes no transaction of such a length.
var errTooLong = errors.New("the channel takes no transaction that is so long: make the list in it shorter")

// identityRefused is what peers and orderers of Fabric 3.1 write about a
// certificate of no member, a revoked one and an expired one; ordererRefused and
// tooLong what an orderer does about a submitter and a size.
var identityRefused = []string{"access denied", "creator is malformed", "identity expired", ordererRefused}

const (
	ordererRefused = "unsuccessful response from orderer: status=FORBIDDEN"
	tooLong        = "exceeds maximum allowed"
)

// wrongCall is what the chaincode refuses whoever calls, and whenever.
type wrongCall struct {
	sentence string
	reason   error
}

func (e *wrongCall) Error() string { return e.sentence }

// Unwrap returns which of the reasons it is.
func (e *wrongCall) Unwrap() error { return e.reason }

func finalIn(message string) error {
	if f := admission.ParseFailure(message); f != nil {
		if f.Final() {
			return f
		}
		for _, reason := range []error{contract.ErrGenesis, contract.ErrDamaged, invocation.ErrFunction, invocation.ErrAnswer} {
			if strings.Contains(f.Sentence, reason.Error()) {
				return &wrongCall{f.Sentence, reason}
			}
		}
	}
	if off := clockIn(message); off != nil {
		return off
	}
	for _, text := range identityRefused {
		if strings.Contains(message, text) {
			return fmt.Errorf("%w (%.200s)", ErrIdentity, message)
		}
	}
	if strings.Contains(message, tooLong) {
		return fmt.Errorf("%w (%.200s)", errTooLong, message)
	}
	return nil
}

// incorrectTime is what a peer writes that finds a proposal's time too far from
// its own: this machine's clock is the proposal's.
var incorrectTime = regexp.MustCompile(`incorrect timestamp (\S+), peer time ([^\s,]+)`)

// clockIn returns the failure of a call by the clock of this machine, which is
// *admission.ClockOff to who decides by it, or nil.
func clockIn(message string) error {
	found := incorrectTime.FindStringSubmatch(message)
	if found == nil {
		return nil
	}
	here, err := time.Parse(time.RFC3339, strings.TrimSuffix(found[1], ","))
	if err != nil {
		return nil
	}
	there, err := time.Parse(time.RFC3339, found[2])
	if err != nil {
		return nil
	}
	off, how := here.Sub(there), "ahead of"
	if off < 0 {
		off, how = -off, "behind"
	}
	return &admission.Failure{
		Sentence: fmt.Sprintf("the clock of this machine (%s) is %s %s a ledger's peer (%s): set the wrong one right",
			here.UTC().Format(time.DateTime), off, how, there.UTC().Format(time.DateTime)),
		Tx: here.Unix(), Ledger: there.Unix(),
	}
}
