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
// and it approves the chaincode that the others committed.
func addOrganisation(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	switch {
	case err != nil:
		return err
	case !made || n.Ledger == "":
		return fmt.Errorf("%s holds no network with a chaincode: make one with up and deploy", n.dir)
	case !validName(o.organisation):
		return fmt.Errorf("%.80q is no name for an organisation: take 1 to 32 letters", o.organisation)
	case slices.ContainsFunc(append(n.Members, ordererMSP), func(m string) bool { return strings.EqualFold(m, o.organisation) }):
		return fmt.Errorf("%s is in the network already", o.organisation)
	}
	if err := n.buildTools(ctx); err != nil {
		return err
	}
	voters := len(n.Members)/2 + 1
	n.Members, n.Packages = append(n.Members, o.organisation), append(n.Packages, "")
	last := len(n.Members) - 1
	if err := errors.Join(n.makeMember(o.organisation), n.configurePeer(n.peer(last)), n.configureChannel()); err != nil {
		return err
	}
	if err := n.admit(ctx, o.organisation, voters); err != nil {
		return err
	}
	if err := n.save(); err != nil { // from now on it is part of the channel
		return err
	}
	return n.joinLate(ctx, last)
}

func validName(name string) bool {
	return name != "" && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
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
	if _, err := n.asAdmin(ctx, member, "channel", "join", "-b", n.firstBlock()); err != nil {
		return err
	}
	if err := n.install(ctx, member); err != nil {
		return err
	}
	if err := n.startChaincode(member); err != nil {
		return err
	}
	// The peer has to read the blocks so far before it knows that it may approve.
	if err := waitFor(ctx, patience, func() error { return n.approve(ctx, member) }); err != nil {
		return err
	}
	id, err := n.ledgerID()
	if err != nil {
		return err
	}
	return errors.Join(n.writeProfiles(id), n.save())
}

// admit changes the channel's configuration so that a member is in it. The
// first voters sign, and the last of them sends it.
func (n *network) admit(ctx context.Context, msp string, voters int) error {
	dir := n.path("channel", strings.ToLower(msp))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	update, err := n.configUpdate(ctx, dir, msp)
	if err != nil {
		return err
	}
	for i := range voters - 1 {
		if _, err := n.asAdmin(ctx, i, "channel", "signconfigtx", "-f", update); err != nil {
			return err
		}
	}
	args := append([]string{"channel", "update", "-c", channel, "-f", update}, n.throughOrderer()...)
	_, err = n.asAdmin(ctx, voters-1, args...)
	return err
}

// configUpdate writes a transaction that adds a member, and returns its path.
func (n *network) configUpdate(ctx context.Context, dir, msp string) (string, error) {
	definition, err := run(ctx, n.dir, []string{"FABRIC_CFG_PATH=" + n.path("channel")}, n.tool("configtxgen"), "-printOrg", msp)
	if err != nil {
		return "", err
	}
	block := filepath.Join(dir, "config.block")
	args := append([]string{"channel", "fetch", "config", block, "-c", channel}, n.throughOrderer()...)
	if _, err := n.asAdmin(ctx, 0, args...); err != nil {
		return "", err
	}
	before, err := n.currentConfig(ctx, block)
	if err != nil {
		return "", err
	}
	after, err := withMember(before, msp, []byte(definition))
	if err != nil {
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

// withMember puts a member's definition into a configuration.
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
	at[msp] = json.RawMessage(definition)
	return json.Marshal(whole)
}
