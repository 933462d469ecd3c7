package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// addOrganisation has one more organisation join a network: the channel's
// configuration is changed with the signatures of a majority, its peer joins,
// and it approves the chaincode that the others committed. What an earlier run
// left unfinished is gone on with.
func addOrganisation(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	if err != nil {
		return err
	}
	if err := n.mayJoin(made, o.organisation); err != nil {
		return err
	}
	if err := n.buildTools(ctx); err != nil {
		return err
	}
	if n.Joining == "" {
		if err := n.keep(func() error { return n.makeJoining(o.organisation) }, func() { n.Joining = o.organisation }); err != nil {
			return err
		}
	}
	last := len(n.Members) - 1
	if err := n.admit(ctx, last); err != nil {
		return err
	}
	return n.keep(func() error { return n.joinLate(ctx, last) }, func() { n.Joining = "" })
}

// joining says what there is to do before anything else is changed.
func (n *network) joining() error {
	return fmt.Errorf("%s has not joined wholly: give add-org --org %s once more, and go on then", n.Joining, n.Joining)
}

// mayJoin says whether an organisation can be added now.
func (n *network) mayJoin(made bool, name string) error {
	switch {
	case !made || !n.Begun:
		return fmt.Errorf("%s holds no network with a chaincode: make one with up and deploy", n.dir)
	case n.Next != nil:
		return errUpgrading
	case n.Leaving != "":
		return n.rotating()
	case n.Joining != "" && n.Joining == name:
		return nil
	case n.Joining != "":
		return n.joining()
	case !validName(name):
		return fmt.Errorf("%.80q is no name for an organisation: take 1 to 32 letters", name)
	case slices.ContainsFunc(append(n.Members[:len(n.Members):len(n.Members)], ordererMSP), func(m string) bool { return strings.EqualFold(m, name) }):
		return fmt.Errorf("%s is in the network already", name)
	case len(n.Members) == maxNodes:
		return fmt.Errorf("the network in %s has %d organisations, and no ports for another: make another network", n.dir, maxNodes)
	}
	return nil
}

func validName(name string) bool {
	return name != "" && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// makeJoining makes the files of one more member.
func (n *network) makeJoining(name string) error {
	n.Members, n.Packages = append(n.Members, name), append(n.Packages, "")
	return errors.Join(n.makeMember(name), n.configurePeer(n.peer(len(n.Members)-1)), n.configureChannel())
}

// joinLate starts the peer and the chaincode of a member that the channel has
// admitted.
func (n *network) joinLate(ctx context.Context, member int) error {
	p := n.peer(member)
	if err := n.startPeer(p); err != nil {
		return err
	}
	if err := n.waitUntilUp(ctx, p.Name, p.Port); err != nil {
		return err
	}
	if err := n.joinPeer(ctx, member); err != nil {
		return err
	}
	if err := n.release().serve(ctx, member); err != nil {
		return err
	}
	if err := n.release().approve(ctx, member); err != nil {
		return err
	}
	id, err := n.ledgerID()
	if err != nil {
		return err
	}
	return n.writeProfiles(id)
}

// admit changes the channel's configuration so that a member is in it. A
// majority of those before it sign, and the last of them sends it.
func (n *network) admit(ctx context.Context, member int) error {
	msp := n.Members[member]
	dir := n.path("channel", strings.ToLower(msp))
	definition, err := run(ctx, n.dir, []string{"FABRIC_CFG_PATH=" + n.path("channel")}, n.tool("configtxgen"), "-printOrg", msp)
	if err != nil {
		return err
	}
	update, err := n.configUpdate(ctx, dir, func(config map[string]any) (bool, error) { return addMember(config, msp, []byte(definition)) })
	if err != nil || update == "" {
		return err
	}
	voters := member/2 + 1
	for i := range voters - 1 {
		if _, err := n.asAdmin(ctx, i, "channel", "signconfigtx", "-f", update); err != nil {
			return err
		}
	}
	return n.ordered(ctx, voters-1, "", "channel", "update", "-c", channel, "-f", update)
}

// addMember puts a member's definition into a configuration, unless the member
// is there.
func addMember(config map[string]any, msp string, definition []byte) (bool, error) {
	members, err := within(config, "channel_group", "groups", "Application", "groups")
	if err != nil || members[msp] != nil {
		return false, err
	}
	members[msp] = json.RawMessage(definition)
	return true, nil
}
