package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// mayJoin says whether an organisation can be added now.
func (n *network) mayJoin(made bool, name string) error {
	switch {
	case !made || !n.Begun:
		return fmt.Errorf("%s holds no network with a chaincode: make one with up and deploy", n.dir)
	case n.Joining != "" && n.Joining == name:
		return nil
	case n.Joining != "":
		return fmt.Errorf("%s has not joined wholly: give add-org --org %s once more, and then add others", n.Joining, n.Joining)
	case !validName(name):
		return fmt.Errorf("%.80q is no name for an organisation: take 1 to 32 letters", name)
	case slices.ContainsFunc(append(n.Members[:len(n.Members):len(n.Members)], ordererMSP), func(m string) bool { return strings.EqualFold(m, name) }):
		return fmt.Errorf("%s is in the network already", name)
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
	if err := n.start(p.Name, n.configured(p), n.tool("peer"), "node", "start"); err != nil {
		return err
	}
	if err := waitFor(ctx, patience, func() error { return listens(p.Port) }); err != nil {
		return fmt.Errorf("%s does not start, see %s: %w", p.Name, n.path("log", p.Name), err)
	}
	if err := n.joinPeer(ctx, member); err != nil {
		return err
	}
	if err := n.serve(ctx, member); err != nil {
		return err
	}
	if err := n.approve(ctx, member); err != nil {
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
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	update, err := n.configUpdate(ctx, dir, msp)
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

// configUpdate writes a transaction that adds a member, and returns its path,
// which is empty if the channel has the member.
func (n *network) configUpdate(ctx context.Context, dir, msp string) (string, error) {
	definition, err := run(ctx, n.dir, []string{"FABRIC_CFG_PATH=" + n.path("channel")}, n.tool("configtxgen"), "-printOrg", msp)
	if err != nil {
		return "", err
	}
	block := filepath.Join(dir, "config.block")
	if err := n.ordered(ctx, 0, "", "channel", "fetch", "config", block, "-c", channel); err != nil {
		return "", err
	}
	before, err := n.currentConfig(ctx, block)
	if err != nil {
		return "", err
	}
	after, err := withMember(before, msp, []byte(definition))
	if err != nil || after == nil {
		return "", err
	}
	old, changed, delta := filepath.Join(dir, "before"), filepath.Join(dir, "after"), filepath.Join(dir, "delta")
	if err := errors.Join(n.encode(ctx, "common.Config", before, old), n.encode(ctx, "common.Config", after, changed)); err != nil {
		return "", err
	}
	if _, err := run(ctx, dir, nil, n.tool("configtxlator"), "compute_update", "--channel_id", channel, "--original", old, "--updated", changed, "--output", delta); err != nil {
		return "", err
	}
	text, err := run(ctx, dir, nil, n.tool("configtxlator"), "proto_decode", "--input", delta, "--type", "common.ConfigUpdate")
	if err != nil {
		return "", err
	}
	envelope, err := json.Marshal(map[string]any{"payload": map[string]any{
		"header": map[string]any{"channel_header": map[string]any{"channel_id": channel, "type": 2}}, // CONFIG_UPDATE
		"data":   map[string]any{"config_update": json.RawMessage(text)},
	}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "update")
	return path, n.encode(ctx, "common.Envelope", envelope, path)
}

// encode has Fabric write one of its messages from JSON.
func (n *network) encode(ctx context.Context, kind string, text []byte, path string) error {
	if err := os.WriteFile(path+".json", text, 0o600); err != nil {
		return err
	}
	_, err := run(ctx, n.dir, nil, n.tool("configtxlator"), "proto_encode", "--input", path+".json", "--type", kind, "--output", path)
	return err
}

// currentConfig reads the configuration out of its block, as JSON.
func (n *network) currentConfig(ctx context.Context, block string) ([]byte, error) {
	text, err := run(ctx, n.dir, nil, n.tool("configtxlator"), "proto_decode", "--input", block, "--type", "common.Block")
	if err != nil {
		return nil, err
	}
	var decoded struct {
		Data struct {
			Data []struct {
				Payload struct {
					Data struct {
						Config json.RawMessage `json:"config"`
					} `json:"data"`
				} `json:"payload"`
			} `json:"data"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &decoded); err != nil || len(decoded.Data.Data) != 1 {
		return nil, fmt.Errorf("the channel's configuration cannot be read: %w", err)
	}
	return decoded.Data.Data[0].Payload.Data.Config, nil
}

// withMember puts a member's definition into a configuration. It returns nil if
// the member is there.
func withMember(config []byte, msp string, definition []byte) ([]byte, error) {
	var whole map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&whole); err != nil {
		return nil, err
	}
	at := whole
	for _, key := range []string{"channel_group", "groups", "Application", "groups"} {
		next, ok := at[key].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the channel's configuration has no %s", key)
		}
		at = next
	}
	if at[msp] != nil {
		return nil, nil
	}
	at[msp] = json.RawMessage(definition)
	return json.Marshal(whole)
}
