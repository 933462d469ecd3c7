package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// configUpdate writes a transaction that changes the channel's configuration, and
// returns its path, which is empty if nothing is to be changed.
func (n *network) configUpdate(ctx context.Context, dir string, change func(config map[string]any) (bool, error)) (string, error) {
	block, err := n.fetchConfig(ctx, dir)
	if err != nil {
		return "", err
	}
	before, err := n.currentConfig(ctx, block)
	if err != nil {
		return "", err
	}
	after, err := applied(before, change)
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

// fetchConfig writes the block with the channel's configuration into a folder, which
// it makes.
func (n *network) fetchConfig(ctx context.Context, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	block := filepath.Join(dir, "config.block")
	return block, n.ordered(ctx, 0, "", "channel", "fetch", "config", block, "-c", channel)
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

// applied applies a change to a configuration. It returns nil if there is none.
func applied(config []byte, change func(config map[string]any) (bool, error)) ([]byte, error) {
	var whole map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&whole); err != nil {
		return nil, err
	}
	if does, err := change(whole); err != nil || !does {
		return nil, err
	}
	return json.Marshal(whole)
}

// within follows keys into a configuration.
func within(config map[string]any, keys ...string) (map[string]any, error) {
	for _, key := range keys {
		next, ok := config[key].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the channel's configuration has no %s: is it of another version of Fabric?", key)
		}
		config = next
	}
	return config, nil
}
