package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// fabricTool is the command that makes a network, and fabricSource where a tree of
// this project's source has it.
const (
	fabricTool   = "torrente-fabric"
	fabricSource = "deploy/fabric/torrente-fabric"
)

// fabricNetwork is a network of Hyperledger Fabric for a demonstration. A nil one
// is none: the ledger is embedded.
type fabricNetwork struct {
	stage *stage
	tool  []string // the command and its first arguments
	began bool
	// blockTime is how long the orderers collect transactions for a block; empty:
	// as the command has it.
	blockTime string
}

var errNoFabricTool = errors.New("a network of Fabric is made by " + fabricTool + ", which builds Fabric's programs from this project's source: run this in the folder of the source, or put the command into your PATH")

// newFabricNetwork finds the command that makes a network.
func newFabricNetwork(s *stage) (*fabricNetwork, error) {
	n := &fabricNetwork{stage: s}
	if _, err := os.Stat(fabricSource); err == nil {
		n.tool = []string{"go", "run", "./" + fabricSource}
		return n, nil
	}
	path, err := exec.LookPath(fabricTool)
	if err != nil {
		return nil, errNoFabricTool
	}
	n.tool = []string{path}
	return n, nil
}

// flags are those of federation init.
func (n *fabricNetwork) flags() []string {
	if n == nil {
		return nil
	}
	return []string{"--ledger", "fabric", "--profile", n.stage.path("network", "profiles", "alpha.json")}
}

// up makes the network, and begins on it the ledger of a genesis document.
func (n *fabricNetwork) up(genesis string) error {
	if n == nil {
		return nil
	}
	n.stage.tell("a network of Hyperledger Fabric begins, of three orderers and three organisations (its programs are built first, once: some minutes)")
	n.began = true
	began := time.Now()
	args := []string{"up", "--genesis", genesis}
	if n.blockTime != "" {
		args = append(args, "--block-time", n.blockTime)
	}
	if err := n.run(n.stage.ctx, args...); err != nil {
		return err
	}
	n.stage.tell("the network runs, after %.1f s", time.Since(began).Seconds())
	return nil
}

// down ends the network's processes.
func (n *fabricNetwork) down() error {
	if n == nil || !n.began {
		return nil
	}
	return n.run(context.WithoutCancel(n.stage.ctx), "down")
}

func (n *fabricNetwork) run(ctx context.Context, args ...string) error {
	args = append(append(n.tool[1:len(n.tool):len(n.tool)], args...), "--dir", n.stage.path("network"))
	c := exec.CommandContext(ctx, n.tool[0], args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 20 * time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(n.tool[0]), err, strings.TrimSpace(string(out)))
	}
	return nil
}
