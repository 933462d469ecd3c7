package contract

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// DecisionKind is the number of what a proposal decides.
type DecisionKind uint8

// What more than half of the organisations decide (L9).
const (
	DecidePrice     DecisionKind = 1
	DecideMint      DecisionKind = 2
	DecideRevoke    DecisionKind = 3
	DecideReinstate DecisionKind = 4
	DecideReassign  DecisionKind = 5
	DecideAdmit     DecisionKind = 6
)

// decisionKinds is indexed by DecisionKind.
var decisionKinds = [...]struct {
	name string
	make func() Decision
}{
	DecidePrice:     {"price", func() Decision { return new(SetPrice) }},
	DecideMint:      {"mint", func() Decision { return new(Mint) }},
	DecideRevoke:    {"revoke", func() Decision { return new(Revoke) }},
	DecideReinstate: {"reinstate", func() Decision { return new(Reinstate) }},
	DecideReassign:  {"reassign", func() Decision { return new(Reassign) }},
	DecideAdmit:     {"admit", func() Decision { return new(Admit) }},
}

func newDecision(k DecisionKind) Decision {
	if int(k) >= len(decisionKinds) || decisionKinds[k].make == nil {
		return nil
	}
	return decisionKinds[k].make()
}

func (k DecisionKind) String() string {
	if newDecision(k) == nil {
		return "unknown"
	}
	return decisionKinds[k].name
}

// MarshalText writes the kind's name.
func (k DecisionKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the kind's name. The error is ErrQuery.
func (k *DecisionKind) UnmarshalText(text []byte) error {
	for i := range decisionKinds {
		if decisionKinds[i].make != nil && decisionKinds[i].name == string(text) {
			*k = DecisionKind(i)
			return nil
		}
	}
	return ErrQuery
}

// Decision is what a proposal asks for: *SetPrice, *Mint, *Revoke, *Reinstate,
// *Reassign or *Admit. A proposal holds its kind u8 and its fields.
type Decision interface {
	Kind() DecisionKind
	append(b []byte) []byte
	read(in *cryptobyte.String) bool
	// execute does it, or says why it cannot be done; Already: it is so.
	execute(r *run) Code
	// describe fills in what a query answers.
	describe(d *DecisionInfo)
}

// SetPrice begins an epoch with another price of a unit.
type SetPrice struct{ Price payment.Amount }

// Reassign names the heir of an account whose key is lost or stolen: another
// key of the same organisation. The old account is revoked for good and its
// balance is the heir's; what else it has, or gets, the heir takes by Inherit.
type Reassign struct {
	MSP string
	Old []byte // SubjectPublicKeyInfo
	New []byte // SubjectPublicKeyInfo
}

// Admit makes an organisation a member of the federation: its authorities certify
// accounts, and its administrator votes, from then on.
type Admit struct{ Organisation }

// Kind returns the number of the decision.
func (*SetPrice) Kind() DecisionKind { return DecidePrice }

// Kind returns the number of the decision.
func (*Mint) Kind() DecisionKind { return DecideMint }

// Kind returns the number of the decision.
func (*Revoke) Kind() DecisionKind { return DecideRevoke }

// Kind returns the number of the decision.
func (*Reinstate) Kind() DecisionKind { return DecideReinstate }

// Kind returns the number of the decision.
func (*Reassign) Kind() DecisionKind { return DecideReassign }

// Kind returns the number of the decision.
func (*Admit) Kind() DecisionKind { return DecideAdmit }

func (d *SetPrice) append(b []byte) []byte { return coins(d.Price).append(b) }

func (d *SetPrice) read(in *cryptobyte.String) bool { return in.ReadUint64((*uint64)(&d.Price)) }

func (m *Mint) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, m.Account[:]...), uint64(m.Coins))
}

func (m *Mint) read(in *cryptobyte.String) bool {
	return in.CopyBytes(m.Account[:]) && in.ReadUint64((*uint64)(&m.Coins))
}

func (d *Reassign) append(b []byte) []byte {
	return appendBytes(appendBytes(appendText(b, d.MSP), d.Old), d.New)
}

func (d *Reassign) read(in *cryptobyte.String) bool {
	return readMSP(in, &d.MSP) && readBytes(in, &d.Old, maxSPKIBytes) && readBytes(in, &d.New, maxSPKIBytes)
}

func (d *Reassign) accounts() (before, after payment.Account) {
	return payment.AccountOf(d.MSP, d.Old), payment.AccountOf(d.MSP, d.New)
}

func appendDecision(b []byte, d Decision) []byte { return d.append(append(b, byte(d.Kind()))) }

func readDecision(in *cryptobyte.String, d *Decision) bool {
	var kind uint8
	if !in.ReadUint8(&kind) {
		return false
	}
	*d = newDecision(DecisionKind(kind))
	return *d != nil && (*d).read(in)
}

// DecisionInfo is a decision for people. Which fields are filled stands beside
// each kind: price: Price; mint: Account, Coins; revoke: MSP, Account;
// reinstate: Account; reassign: MSP, Account, To; admit: MSP, Account (its
// administrator), Roots.
type DecisionInfo struct {
	Kind    DecisionKind    `json:"kind"`
	Price   payment.Amount  `json:"price,omitzero"`
	Account payment.Account `json:"account,omitzero"`
	To      payment.Account `json:"to,omitzero"`
	Coins   payment.Amount  `json:"coins,omitzero"`
	MSP     string          `json:"msp,omitempty"`
	Roots   []string        `json:"roots,omitempty"` // SHA-256 of each, in hex
}

// Describe returns what a decision says.
func Describe(d Decision) DecisionInfo {
	info := DecisionInfo{Kind: d.Kind()}
	d.describe(&info)
	return info
}

func (d *SetPrice) describe(info *DecisionInfo) { info.Price = d.Price }

func (m *Mint) describe(info *DecisionInfo) { info.Account, info.Coins = m.Account, m.Coins }

func (a *Revoke) describe(info *DecisionInfo) {
	info.MSP, info.Account = a.MSP, payment.AccountOf(a.MSP, a.SPKI)
}

func (a *Reinstate) describe(info *DecisionInfo) { info.Account = a.Account }

func (d *Reassign) describe(info *DecisionInfo) {
	info.MSP = d.MSP
	info.Account, info.To = d.accounts()
}

func (a *Admit) describe(info *DecisionInfo) {
	info.MSP, info.Account = a.MSP, a.Administrator
	for _, der := range a.Roots {
		info.Roots = append(info.Roots, fmt.Sprintf("%x", sha256.Sum256(der)))
	}
}
