package federation

import (
	"context"
	"crypto/x509"
	"time"

	"torrente/payment"
)

// Operator is what the operator of a federation can do: to a folder that this
// process has open, a *Federation, or to the process that serves it, a
// *Control.
type Operator interface {
	Invite(ctx context.Context, r InviteRequest) (Invitation, error)
	Fund(ctx context.Context, r FundRequest) (Funding, error)
	Revoke(ctx context.Context, r RevokeRequest) (Member, error)
	Reinstate(ctx context.Context, r RevokeRequest) (Member, error)
	Propose(ctx context.Context, r ProposeRequest) (Proposal, error)
	Approve(ctx context.Context, r ApproveRequest) (Proposal, error)
	Proposals(ctx context.Context, r ProposalsRequest) ([]Proposal, error)
	AddRoot(ctx context.Context, r AddRootRequest) (Root, error)
	RemoveRoot(ctx context.Context, r RemoveRootRequest) (Root, error)
	Members(ctx context.Context, _ struct{}) ([]Member, error)
	Roots(ctx context.Context, _ struct{}) ([]Root, error)
	Close() error
}

// InviteRequest asks for an invite.
type InviteRequest struct {
	Name     string        `json:"name,omitempty"` // the member's; empty: it chooses
	Lifetime time.Duration `json:"lifetime"`       // 0: 7 days
}

// Invitation is a new invite.
type Invitation struct {
	Code    string    `json:"invite"`
	Name    string    `json:"name,omitempty"`
	URL     string    `json:"federation,omitempty"` // empty: the portal is not running and no URL was given to init
	Expires time.Time `json:"expires"`
}

// FundRequest asks for a transfer from the treasury.
type FundRequest struct {
	To    string         `json:"to"` // a member's name, or an account in hex
	Coins payment.Amount `json:"coins"`
}

// Funding is a transfer that the ledger has.
type Funding struct {
	Account     payment.Account `json:"account"`
	Name        string          `json:"name,omitempty"`
	Coins       payment.Amount  `json:"coins"`
	Transaction string          `json:"transaction"`
	Height      uint64          `json:"height"` // of its block
}

// RevokeRequest names whom to revoke, or what else is to be done with: a member by name or account, or whoever
// has a certificate of one of the federation's roots.
type RevokeRequest struct {
	Who         string `json:"who,omitempty"`
	Certificate []byte `json:"certificate,omitempty"` // PEM
}

// Member is what the federation knows of a member.
type Member struct {
	Name     string          `json:"name"`
	Account  payment.Account `json:"account"`
	MSP      string          `json:"msp"`
	Enrolled time.Time       `json:"enrolled,omitzero"`
	Expires  time.Time       `json:"expires,omitzero"` // of its newest certificate
	Revoked  bool            `json:"revoked"`
}

// AddRootRequest asks to trust another root.
type AddRootRequest struct {
	Certificate []byte `json:"certificate,omitempty"` // PEM; none: the portal makes one and issues by it from now on
	MSP         string `json:"msp,omitempty"`         // the organisation it is of; empty: the portal's own
}

// RemoveRootRequest names a root that shall not be trusted any more.
type RemoveRootRequest struct {
	Fingerprint string `json:"fingerprint"` // SHA-256 of the certificate in hex, or the beginning of it
}

// Root is an authority whose members the federation knows.
type Root struct {
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the certificate in hex
	MSP         string    `json:"msp"`
	Trusted     bool      `json:"trusted"`
	Own         bool      `json:"own"` // the portal has its key
	Expires     time.Time `json:"expires"`

	certificate *x509.Certificate
}
