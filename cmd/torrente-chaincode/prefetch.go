package main

import (
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// prefetched is rows of which some have been read: each question to the peer
// costs more than the rows that it asks for.
type prefetched struct {
	rows
	tx    contract.TxID // that executes
	known map[string][]byte
}

var _ contract.State = prefetched{}

// prefetch reads a transaction's receipt, and in the same go what it will read
// if it has none.
func prefetch(stub shim.ChaincodeStubInterface, one *admission.Candidate) (st prefetched, before *invocation.Outcome, err error) {
	st = prefetched{rows{stub}, one.ID, map[string][]byte{}}
	receipt, err := receiptKey(stub, one.ID)
	if err != nil {
		return st, nil, err
	}
	keys := contract.Reads(one.Creator, one.Tx)
	composites := []string{receipt}
	for _, key := range keys {
		k, err := st.composite(key)
		if err != nil { // the creator's organisation cannot be part of a key
			return st, nil, fmt.Errorf("%w (%w)", contract.ErrTransaction, err)
		}
		composites = append(composites, k)
	}
	values, err := st.read(composites)
	if err != nil {
		return st, nil, err
	}
	for i, key := range keys {
		st.known[key] = values[i+1]
	}
	before, err = parseReceipt(one.ID, values[0])
	return st, before, err
}

// knows gives what was read, and what cannot be there: as long as the transaction
// has no receipt, which was read, what it alone writes is not.
func (p prefetched) knows(key string) (value []byte, known bool) {
	if value, known = p.known[key]; known {
		return value, true
	}
	return nil, contract.Unwritten(key, p.tx)
}

// Get returns nil for a row that does not exist.
func (p prefetched) Get(key string) ([]byte, error) {
	if value, known := p.knows(key); known {
		return value, nil
	}
	return p.rows.Get(key)
}

// GetMany asks the peer for those that are not known.
func (p prefetched) GetMany(keys []string) ([][]byte, error) {
	var missing []string
	for _, key := range keys {
		if _, known := p.knows(key); !known {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		values, err := p.rows.GetMany(missing)
		if err != nil {
			return nil, err
		}
		for i, key := range missing {
			p.known[key] = values[i]
		}
	}
	all := make([][]byte, len(keys))
	for i, key := range keys {
		all[i] = p.known[key]
	}
	return all, nil
}
