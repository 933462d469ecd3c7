package main

import (
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// fabricIDBytes is the length of a Fabric transaction's id in hex.
const fabricIDBytes = 64

func receiptKey(stub shim.ChaincodeStubInterface, id contract.TxID) (string, error) {
	return rows{stub}.composite(invocation.ReceiptKey(id))
}

// parseReceipt returns what a transaction did before, or nil if it has none.
func parseReceipt(id contract.TxID, b []byte) (*invocation.Outcome, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < fabricIDBytes {
		return nil, fmt.Errorf("receipt of %v: %w", id, contract.ErrDamaged)
	}
	result, err := contract.ParseResult(b[fabricIDBytes:])
	if err != nil {
		return nil, err
	}
	return &invocation.Outcome{
		Tx: id, Code: result.Code, Items: result.Items, Coins: result.Coins, Done: string(b[:fabricIDBytes]),
	}, nil
}

// writeReceipt keeps what a transaction did, by the Fabric transaction that did
// it: Fabric's id 64 | contract.Result. The block's height is not known yet.
func writeReceipt(stub shim.ChaincodeStubInterface, id contract.TxID, result *contract.Result) error {
	key, err := receiptKey(stub, id)
	if err != nil {
		return err
	}
	by := stub.GetTxID()
	if len(by) != fabricIDBytes {
		return fmt.Errorf("the peer names the transaction %.80q, which is no SHA-256 in hex", by)
	}
	return stub.PutState(key, result.Append([]byte(by)))
}
