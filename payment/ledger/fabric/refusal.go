package fabric

import "torrente/payment/admission"

// refusals are what organisations refused a transaction with, by their MSPs.
type refusals map[string]*admission.Failure

// note adds what a gateway's own organisation said, if that is final.
func (r refusals) note(g *gateway, err error) {
	if f := failureOf(err, g.msp); f != nil && f.Final() {
		r[g.msp] = f
	}
}

// believed returns a refusal that enough organisations agree on, or the own
// organisation's when all have been asked and none has taken the transaction:
// until then it may be the own one's clock that is wrong.
func (r refusals) believed(p *Profile, askedAll bool) *admission.Failure {
	for _, f := range r {
		alike := 0
		for _, other := range r {
			if sameFailure(f, other) {
				alike++
			}
		}
		if alike >= p.witnesses() {
			return f
		}
	}
	if askedAll {
		return r[p.MSP]
	}
	return nil
}

// sameFailure compares what a program decides by; sentences name the time.
func sameFailure(a, b *admission.Failure) bool {
	return a.Refusal == b.Refusal && a.Signature == b.Signature && a.Transaction == b.Transaction && a.Query == b.Query &&
		a.Tx == b.Tx && (a.Ledger == 0) == (b.Ledger == 0)
}
