package ledger

import (
	"slices"

	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

// changesRoots reports whether a block's transactions changed whom to trust.
func changesRoots(results []contract.Result) bool {
	return slices.ContainsFunc(results, func(r contract.Result) bool {
		return slices.ContainsFunc(r.Events, func(e payment.LedgerEvent) bool { return e.Kind == payment.EventRoots })
	})
}

// record notes a block and what its transactions did in the stage.
func (s *stage) record(b *block, hash [32]byte, ledger payment.LedgerID, txs []*admission.Candidate, results []contract.Result) error {
	events := []payment.LedgerEvent{}
	for i := range results {
		s.putReceipt(txs[i].ID, b.height, &results[i])
		for _, e := range results[i].Events {
			e.Height = b.height
			events = append(events, e)
		}
	}
	s.putTip(tip{b.height, hash, ledger})
	return s.putEvents(Block{b.height, b.time, events})
}
