package federation

import (
	"errors"
	"net/http"
	"strings"

	"torrente/identity"
	"torrente/internal/jsonhttp"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// submit has a member's transaction committed. A refusal by the contract is an
// answer like another: the member has its receipt.
func (p *portal) submit(w http.ResponseWriter, r *http.Request, _ caller) {
	body, ok := p.readBody(w, r, contract.MaxSigned)
	if !ok {
		return
	}
	tx, err := contract.ParseSigned(body)
	if err != nil {
		p.refuseTransaction(w, err)
		return
	}
	receipt, err := p.fed.submit(r.Context(), tx)
	if err != nil && p.refusedUs(tx, err) {
		p.broken(w, "submit", err)
		return
	}
	if err != nil {
		p.refuseTransaction(w, err)
		return
	}
	jsonhttp.Write(w, http.StatusOK, receipt)
}

// refusedUs reports whether a ledger elsewhere refused this portal's certificate,
// or says what this portal does not see: the member's is good.
func (p *portal) refusedUs(tx *contract.Signed, err error) bool {
	if _, far := errors.AsType[*remote.Refused](err); !far || identity.RefusalCode(err) == 0 {
		return false
	}
	_, bad := p.creators().Verify(tx.Chain, p.fed.now())
	return bad == nil
}

// refuseTransaction tells apart what is wrong with the transaction, which stays
// so, from what is wrong here.
func (p *portal) refuseTransaction(w http.ResponseWriter, err error) {
	if off, ok := errors.AsType[*ledger.ClockOff](err); ok {
		p.answer(w, http.StatusForbidden, remote.Failure{Error: off.Error(), Reason: remote.ReasonClock, Time: off.Ledger})
		return
	}
	f := remote.Failure{Error: err.Error(), Reason: remote.ReasonTransaction, Time: p.fed.now()}
	switch {
	case identity.RefusalCode(err) != 0:
		f.Reason, f.Refusal = remote.ReasonCertificate, identity.RefusalCode(err)
	case errors.Is(err, payment.ErrSignature):
		f.Signature = true
	case errors.Is(err, contract.ErrTransaction):
	default:
		p.broken(w, "submit", err)
		return
	}
	p.answer(w, http.StatusForbidden, f)
}

// query reads the ledger's state.
func (p *portal) query(w http.ResponseWriter, r *http.Request, _ caller) {
	body, ok := p.readBody(w, r, maxQueryBody)
	if !ok {
		return
	}
	var q contract.Query
	if err := jsonhttp.Read(strings.NewReader(string(body)), &q); err != nil {
		p.fail(w, http.StatusBadRequest, remote.ReasonQuery, err)
		return
	}
	answer, err := p.fed.ledger.Query(r.Context(), q)
	switch {
	case errors.Is(err, contract.ErrQuery):
		p.fail(w, http.StatusBadRequest, remote.ReasonQuery, err)
	case err != nil && r.Context().Err() != nil: // nobody waits for the answer
		panic(http.ErrAbortHandler)
	case err != nil:
		p.broken(w, "query", err)
	default:
		jsonhttp.Write(w, http.StatusOK, answer)
	}
}
