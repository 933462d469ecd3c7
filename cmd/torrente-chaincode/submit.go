package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// submit executes a signed transaction. One that was executed before has its
// receipt, however old its certificate and its time are by now.
func (c *chaincode) submit(stub shim.ChaincodeStubInterface, argument []byte) (any, error) {
	signed, err := contract.ParseSigned(argument)
	if err != nil {
		return nil, err
	}
	one, err := admission.Identify(signed)
	if err != nil {
		return nil, err
	}
	st, before, err := prefetch(stub, one)
	if err != nil || before != nil {
		return before, err
	}
	if err := c.admit(st, one); err != nil {
		return nil, err
	}
	return execute(stub, st, one)
}

// admit checks certificate and time. The time comes from the transaction's
// creator, so every endorser compares it with a clock of its own: whoever signs
// an endorsement vouches for it (section 5).
func (c *chaincode) admit(st prefetched, one *admission.Candidate) error {
	if err := c.trusted(st, one); err != nil {
		return err
	}
	return admission.CheckClock(one.Tx.Time, uint64(max(0, c.now().Unix())))
}

// trusted checks the certificate by what its organisation's roots are now. What
// they were is asked for one that is refused, so that its owner is told why: it
// stays refused.
func (c *chaincode) trusted(st prefetched, one *admission.Candidate) error {
	msp, chain := one.Creator.MSP, one.Signed.Chain
	roots, err := contract.TrustedRoots(st, msp)
	if err != nil {
		return err
	}
	e, at := evidenceOf(chain, roots), time.Unix(int64(one.Tx.Time), 0)
	if c.verified.good(e, at) {
		return nil
	}
	now, err := admission.TrustIn(msp, roots)
	if err != nil {
		return err
	}
	refused := one.Trusted(now)
	if refused == nil {
		c.verified.remember(e, at, chain, roots)
		return nil
	}
	ever, err := admission.TrustOf(organisation{st.rows, msp})
	if err != nil {
		return err
	}
	if err := one.Trusted(ever); errors.Is(err, identity.ErrRootRemoved) {
		return err
	}
	return refused
}

// execute applies the transaction, and writes its receipt and its event if it
// changed anything.
func execute(stub shim.ChaincodeStubInterface, st contract.State, one *admission.Candidate) (*invocation.Outcome, error) {
	stub.StartWriteBatch()
	result, err := contract.Apply(st, one.Creator, one.Tx)
	if err != nil {
		return nil, err
	}
	out := &invocation.Outcome{Tx: one.ID, Code: result.Code, Items: result.Items, Coins: result.Coins, Wrote: result.Wrote}
	if !result.Wrote {
		return out, nil
	}
	if err := writeReceipt(stub, one.ID, &result); err != nil {
		return nil, err
	}
	if err := tell(stub, one, result.Events); err != nil {
		return nil, err
	}
	return out, stub.FinishWriteBatch()
}

// tell sets the transaction's one event.
func tell(stub shim.ChaincodeStubInterface, one *admission.Candidate, events []payment.LedgerEvent) error {
	text, err := json.Marshal(invocation.Event{Tx: one.ID, Time: one.Tx.Time, Events: events})
	if err != nil {
		return err
	}
	if len(text) > invocation.MaxEvent {
		return fmt.Errorf("%w (events of %d bytes)", invocation.ErrAnswer, len(text))
	}
	return stub.SetEvent(invocation.EventName, text)
}
