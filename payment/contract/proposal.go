package contract

// proposalLife is how long a proposal can be approved, in seconds.
const proposalLife = 7 * 24 * 60 * 60

// propose makes a proposal, named by its transaction, which its organisation
// approves by it. What could not be done now is not proposed: it is tried, and
// undone.
func (r *run) propose() Code {
	a := r.tx.Args.(*Propose)
	if r.has(keyProposal(r.id)) {
		return Already
	}
	mark, events, moved := r.mark(), len(r.result.Events), r.result.Coins
	if code := a.Decision.execute(r); code != OK {
		return code
	}
	r.rollback(mark)
	r.result.Events, r.result.Coins = r.result.Events[:events], moved
	p := proposal{r.msp, r.tx.Time, a.Decision}
	r.put(keyProposal(r.id), &p)
	return r.vote(r.id, &p)
}

// approve adds the creator's organisation to those that agree.
func (r *run) approve() Code {
	id := r.tx.Args.(*Approve).Proposal
	var p proposal
	switch {
	case !r.read(keyProposal(id), &p):
		return NoProposal
	case r.has(keyPassed(id)):
		return Already
	case r.tx.Time > p.time+proposalLife: // a time is at most payment.MaxTime
		return Lapsed
	case r.has(keyVote(id, r.msp)):
		return Already
	}
	return r.vote(id, &p)
}

// vote notes that the creator's organisation agrees. The vote by which more
// than half of all organisations do executes the proposal, here and never
// again: it reads the votes of the others, so on Fabric a second one in the
// same block is done anew, and finds it passed. If it cannot be executed any
// more the vote is refused with the reason.
func (r *run) vote(id TxID, p *proposal) Code {
	r.put(keyVote(id, r.msp), present{})
	if !r.majority(r.votes(id)) {
		return OK
	}
	voters := len(r.organisations()) // an Admit adds one
	if code := p.decision.execute(r); !code.Success() {
		return code
	}
	r.put(keyPassed(id), passing{r.tx.Time, uint16(voters)})
	return OK
}

// votes counts the organisations that agree; each has one row.
func (r *run) votes(id TxID) (n int) {
	all := r.organisations()
	keys := make([]string, len(all))
	for i, msp := range all {
		keys[i] = keyVote(id, msp)
	}
	r.load(keys...)
	for _, key := range keys {
		if r.has(key) {
			n++
		}
	}
	return n
}

// organisations returns the ids of all organisations, in order.
func (r *run) organisations() []string {
	var all organisationList
	if !r.read(keyOrganisations, &all) && r.err == nil {
		r.err = ErrNoLedger // Init wrote it
	}
	return all
}
