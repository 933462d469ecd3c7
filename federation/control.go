package federation

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"torrente/internal/control"
)

// commandsOf routes each command to the operator's method.
func commandsOf(op Operator) *http.ServeMux {
	mux := http.NewServeMux()
	control.Handle(mux, "invite", op.Invite)
	control.Handle(mux, "fund", op.Fund)
	control.Handle(mux, "revoke", op.Revoke)
	control.Handle(mux, "reinstate", op.Reinstate)
	control.Handle(mux, "propose", op.Propose)
	control.Handle(mux, "approve", op.Approve)
	control.Handle(mux, "proposals", op.Proposals)
	control.Handle(mux, "root/add", op.AddRoot)
	control.Handle(mux, "root/remove", op.RemoveRoot)
	control.Handle(mux, "members", op.Members)
	control.Handle(mux, "roots", op.Roots)
	return mux
}

// Control reaches the process that serves a federation.
type Control struct{ *control.Client }

// Connect finds the process that has the folder open. It returns
// ErrNoFederation, or *InUse if that process takes no commands, because it is
// no federation serve.
func Connect(ctx context.Context, dir string) (*Control, error) {
	d := folder(dir)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	// A process that has just started is still opening its keys.
	for range 200 {
		at, err := control.Read(d.path(controlFile))
		if err == nil && at.PID == d.owner() {
			return &Control{control.NewClient(at)}, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
	return nil, &InUse{dir, d.owner()}
}

// Close has nothing to close: every command has a connection of its own.
func (c *Control) Close() error { return nil }

// Invite asks the running federation for an invite.
func (c *Control) Invite(ctx context.Context, r InviteRequest) (Invitation, error) {
	return control.Call[Invitation](ctx, c.Client, "invite", r)
}

// Fund lets the running federation transfer from its treasury.
func (c *Control) Fund(ctx context.Context, r FundRequest) (Funding, error) {
	return control.Call[Funding](ctx, c.Client, "fund", r)
}

// Revoke lets the running federation revoke a member.
func (c *Control) Revoke(ctx context.Context, r RevokeRequest) (Member, error) {
	return control.Call[Member](ctx, c.Client, "revoke", r)
}

// Reinstate lets the running federation reinstate a member.
func (c *Control) Reinstate(ctx context.Context, r RevokeRequest) (Member, error) {
	return control.Call[Member](ctx, c.Client, "reinstate", r)
}

// Propose lets the running federation propose to all organisations.
func (c *Control) Propose(ctx context.Context, r ProposeRequest) (Proposal, error) {
	return control.Call[Proposal](ctx, c.Client, "propose", r)
}

// Approve lets the running federation approve a proposal.
func (c *Control) Approve(ctx context.Context, r ApproveRequest) (Proposal, error) {
	return control.Call[Proposal](ctx, c.Client, "approve", r)
}

// Proposals lists proposals by the running federation.
func (c *Control) Proposals(ctx context.Context, r ProposalsRequest) ([]Proposal, error) {
	return control.Call[[]Proposal](ctx, c.Client, "proposals", r)
}

// AddRoot lets the running federation trust another root.
func (c *Control) AddRoot(ctx context.Context, r AddRootRequest) (Root, error) {
	return control.Call[Root](ctx, c.Client, "root/add", r)
}

// RemoveRoot ends the running federation's trust in a root.
func (c *Control) RemoveRoot(ctx context.Context, r RemoveRootRequest) (Root, error) {
	return control.Call[Root](ctx, c.Client, "root/remove", r)
}

// Members lists the running federation's members.
func (c *Control) Members(ctx context.Context, r struct{}) ([]Member, error) {
	return control.Call[[]Member](ctx, c.Client, "members", r)
}

// Roots lists the running federation's roots.
func (c *Control) Roots(ctx context.Context, r struct{}) ([]Root, error) {
	return control.Call[[]Root](ctx, c.Client, "roots", r)
}
