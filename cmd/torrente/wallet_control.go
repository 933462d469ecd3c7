package main

import (
	"context"
	"net/http"

	"torrente/internal/control"
	"torrente/payment/wallet"
)

// walletCommands routes each command to the account's method.
func walletCommands(mux *http.ServeMux, a walletAccount) {
	control.Handle(mux, "wallet/balance", a.Balance)
	control.Handle(mux, "wallet/redeem", a.Redeem)
	control.Handle(mux, "wallet/reclaim", a.Reclaim)
	control.Handle(mux, "wallet/inherit", a.Inherit)
	control.Handle(mux, "wallet/limit", a.Limit)
	control.Handle(mux, "wallet/history", a.History)
	control.Handle(mux, "wallet/recover", a.Recover)
}

// runningAccount is an account that another process has open.
type runningAccount struct{ process *control.Client }

// Balance asks the running process.
func (r *runningAccount) Balance(ctx context.Context, in struct{}) (balanceFacts, error) {
	return control.Call[balanceFacts](ctx, r.process, "wallet/balance", in)
}

// Redeem lets the running process redeem.
func (r *runningAccount) Redeem(ctx context.Context, in struct{}) (redeemFacts, error) {
	return control.Call[redeemFacts](ctx, r.process, "wallet/redeem", in)
}

// Reclaim lets the running process reclaim.
func (r *runningAccount) Reclaim(ctx context.Context, in struct{}) (reclaimFacts, error) {
	return control.Call[reclaimFacts](ctx, r.process, "wallet/reclaim", in)
}

// Inherit lets the running process inherit.
func (r *runningAccount) Inherit(ctx context.Context, in inheritRequest) (inheritFacts, error) {
	return control.Call[inheritFacts](ctx, r.process, "wallet/inherit", in)
}

// Limit reads or sets the limit of the running process.
func (r *runningAccount) Limit(ctx context.Context, in limitRequest) (limitFacts, error) {
	return control.Call[limitFacts](ctx, r.process, "wallet/limit", in)
}

// History asks the running process.
func (r *runningAccount) History(ctx context.Context, in historyRequest) ([]wallet.Event, error) {
	return control.Call[[]wallet.Event](ctx, r.process, "wallet/history", in)
}

// Recover lets the running process recover.
func (r *runningAccount) Recover(ctx context.Context, in struct{}) (recoverFacts, error) {
	return control.Call[recoverFacts](ctx, r.process, "wallet/recover", in)
}
