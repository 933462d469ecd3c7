package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// chaincode answers one ledger's calls.
type chaincode struct {
	ledger payment.LedgerID // the only one that begin accepts
	now    func() time.Time // this endorser's clock

	verified verified
}

var _ shim.Chaincode = (*chaincode)(nil)

// Init does nothing: a ledger begins with a call, which carries its genesis
// document.
func (c *chaincode) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

// Invoke executes one call. An error becomes a response with a status of 500,
// which no endorser signs; its message is an admission.Failure.
func (c *chaincode) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	answer, err := c.dispatch(stub)
	if err == nil && len(answer) > invocation.MaxAnswer {
		err = fmt.Errorf("%w (%d bytes)", invocation.ErrAnswer, len(answer))
	}
	if err != nil {
		return shim.Error(admission.FailureOf(err).Text())
	}
	return shim.Success(answer)
}

// functions gives each call with the most bytes of its argument.
var functions = map[string]struct {
	do  func(c *chaincode, stub shim.ChaincodeStubInterface, argument []byte) (any, error)
	max int
}{
	invocation.Begin:  {(*chaincode).begin, contract.MaxGenesis},
	invocation.Submit: {(*chaincode).submit, contract.MaxSigned},
	invocation.Query:  {(*chaincode).query, invocation.MaxQuery},
}

func (c *chaincode) dispatch(stub shim.ChaincodeStubInterface) ([]byte, error) {
	args := stub.GetArgs()
	if len(args) != 2 {
		return nil, fmt.Errorf("%w (%d arguments)", invocation.ErrFunction, len(args))
	}
	f, known := functions[string(args[0])]
	switch {
	case !known:
		return nil, fmt.Errorf("%w (%.40q)", invocation.ErrFunction, args[0])
	case len(args[1]) > f.max:
		return nil, fmt.Errorf("%w (%s with %d bytes)", contract.ErrTransaction, args[0], len(args[1]))
	}
	answer, err := f.do(c, stub, args[1])
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}
