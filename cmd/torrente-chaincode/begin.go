package main

import (
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// begin writes the rows that the ledger begins with. Any writer of the channel
// may call it, but there is one document alone that this endorser was set up
// for, and it begins once.
func (c *chaincode) begin(stub shim.ChaincodeStubInterface, document []byte) (any, error) {
	if id := contract.GenesisID(document); id != c.ledger {
		return nil, fmt.Errorf("%w: it begins the ledger %v, and this endorser is of %v", contract.ErrGenesis, id, c.ledger)
	}
	stub.StartWriteBatch()
	if err := contract.Init(rows{stub}, document); err != nil {
		return nil, err
	}
	if err := stub.FinishWriteBatch(); err != nil {
		return nil, err
	}
	return invocation.Outcome{Wrote: true}, nil
}
