package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"torrente/payment/contract"
)

// query answers a question about the state, by this peer's last block, with
// this endorser's time. It writes nothing, so it is not ordered.
func (c *chaincode) query(stub shim.ChaincodeStubInterface, argument []byte) (any, error) {
	var q contract.Query
	d := json.NewDecoder(bytes.NewReader(argument))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || d.More() {
		return nil, fmt.Errorf("%w (it is no JSON of a query)", contract.ErrQuery)
	}
	a, err := contract.Ask(pages{rows{stub}}, q)
	if err != nil {
		return nil, err
	}
	a.Time = uint64(max(0, c.now().Unix()))
	return a, nil
}
