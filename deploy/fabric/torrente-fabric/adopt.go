package main

import (
	"context"
	"fmt"
)

// adopt has all that names orderers name those that there are. Peers are started again,
// one after another: Fabric tells a peer's gateway of other orderers only if the peer
// has joined the channel since it was started.
func (n *network) adopt(ctx context.Context) error {
	for _, p := range n.peers() {
		if err := n.configurePeer(p); err != nil {
			return err
		}
		if err := n.restartPeer(ctx, p); err != nil {
			return err
		}
	}
	return n.configureChannel()
}

// restartPeer starts a peer again, and waits until it knows as many others as before:
// without them its gateway finds no majority.
func (n *network) restartPeer(ctx context.Context, p node) error {
	const known = "gossip_membership_total_peers_known"
	before := figure(p, known)
	if err := n.stop(p.Name); err != nil {
		return err
	}
	if err := n.startPeer(p); err != nil {
		return err
	}
	if err := n.waitUntilUp(ctx, p.Name, p.Port); err != nil {
		return err
	}
	return waitFor(ctx, patience, func() error {
		if figure(p, known) < before {
			return fmt.Errorf("%s does not find the others, see %s", p.Name, n.path("log", p.Name))
		}
		return nil
	})
}

// detour is an orderer's port that leads to another's.
type detour struct{ From, To int }

// detours lead peers to the orderers that there are: one that was away, or reads the
// first block, knows those that were.
func (n *network) detours() (all []detour) {
	now := n.consenters()
	for i, o := range n.orderers(true) {
		if !anyAt(now, o.Port) {
			all = append(all, detour{o.Port, now[i%len(now)].Port})
		}
	}
	return all
}
