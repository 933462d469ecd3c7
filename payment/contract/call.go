package contract

import "fmt"

// Call is the number of a call.
type Call uint8

// The calls of section 5. Numbers from 20 on are the federation's.
const (
	CallRegisterTorrent Call = 1
	CallDeclare         Call = 2
	CallAddFunds        Call = 3
	CallOpenMany        Call = 4
	CallTopUpMany       Call = 5
	CallRedeemMany      Call = 6
	CallReleaseMany     Call = 7
	CallClose           Call = 8
	CallRefund          Call = 9
	CallSweep           Call = 10
	CallTransfer        Call = 11
	CallSetDelegate     Call = 12
	CallInherit         Call = 13
	CallRevoke          Call = 20
	CallReinstate       Call = 21
	CallAddRoot         Call = 22
	CallRemoveRoot      Call = 23
	CallPropose         Call = 24
	CallApprove         Call = 25
)

// rules is what Apply has to know of a call before it executes it.
type rules struct {
	name string
	make func() Arguments
	do   func(r *run) Code
	// once: the request id decides whether it was done before, because the
	// call moves coins and its arguments do not say so.
	once bool
	// free: a revoked account may call it (L10).
	free bool
	// admin: only an organisation's administrator may call it.
	admin bool
}

// calls is indexed by Call.
var calls = [...]rules{
	CallRegisterTorrent: {name: "RegisterTorrent", make: makeArguments[RegisterTorrent], do: (*run).registerTorrent, free: true},
	CallDeclare:         {name: "Declare", make: makeArguments[Declare], do: (*run).declare, once: true},
	CallAddFunds:        {name: "AddFunds", make: makeArguments[AddFunds], do: (*run).addFunds, once: true},
	CallOpenMany:        {name: "OpenMany", make: makeArguments[OpenMany], do: (*run).openMany},
	CallTopUpMany:       {name: "TopUpMany", make: makeArguments[TopUpMany], do: (*run).topUpMany},
	CallRedeemMany:      {name: "RedeemMany", make: makeArguments[RedeemMany], do: (*run).redeemMany, free: true},
	CallReleaseMany:     {name: "ReleaseMany", make: makeArguments[ReleaseMany], do: (*run).releaseMany, free: true},
	CallClose:           {name: "Close", make: makeArguments[Close], do: (*run).close, free: true},
	CallRefund:          {name: "Refund", make: makeArguments[Refund], do: (*run).refund, free: true},
	CallSweep:           {name: "Sweep", make: makeArguments[Sweep], do: (*run).sweep, free: true},
	CallTransfer:        {name: "Transfer", make: makeArguments[Transfer], do: (*run).transfer, once: true},
	CallSetDelegate:     {name: "SetDelegate", make: makeArguments[SetDelegate], do: (*run).setDelegate, free: true},
	CallInherit:         {name: "Inherit", make: makeArguments[Inherit], do: (*run).inherit, free: true},
	CallRevoke:          {name: "Revoke", make: makeArguments[Revoke], do: (*run).revoke, admin: true},
	CallReinstate:       {name: "Reinstate", make: makeArguments[Reinstate], do: (*run).reinstate, admin: true},
	CallAddRoot:         {name: "AddRoot", make: makeArguments[AddRoot], do: (*run).addRoot, admin: true},
	CallRemoveRoot:      {name: "RemoveRoot", make: makeArguments[RemoveRoot], do: (*run).removeRoot, admin: true},
	CallPropose:         {name: "Propose", make: makeArguments[Propose], do: (*run).propose, admin: true},
	CallApprove:         {name: "Approve", make: makeArguments[Approve], do: (*run).approve, admin: true},
}

func (c Call) rules() *rules {
	if int(c) < len(calls) && calls[c].do != nil {
		return &calls[c]
	}
	return nil
}

func (c Call) String() string {
	if r := c.rules(); r != nil {
		return r.name
	}
	return fmt.Sprintf("call %d", uint8(c))
}
