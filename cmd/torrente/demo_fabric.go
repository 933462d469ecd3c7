package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	tool  string // the path of the command
	began bool
	// blockTime is how long the orderers collect transactions for a block; empty:
	// as the command has it.
	blockTime string
}

var errNoFabricTool = errors.New("a network of Fabric is made by " + fabricTool + ", which builds Fabric's programs from this project's source: run this in the folder of the source, or put the command into your PATH")

// newFabricNetwork finds the command that makes a network: that of the source if
// this is its folder, which it builds, or the one in PATH.
func newFabricNetwork(s *stage) (*fabricNetwork, error) {
	n := &fabricNetwork{stage: s}
	if isSource(".") {
		n.tool = s.path(fabricTool)
		// It is run as it is, and not by go run: an interrupt is to reach it.
		c := exec.CommandContext(s.ctx, "go", "build", "-o", n.tool, "./"+fabricSource)
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w: %s", fabricTool, err, strings.TrimSpace(string(out)))
		}
		return n, nil
	}
	var err error
	if n.tool, err = exec.LookPath(fabricTool); err != nil {
		return nil, errNoFabricTool
	}
	return n, nil
}

// isSource reports whether a folder is that of this project's source, whose
// programs may be built and run: anything else may have such a folder in it, too.
func isSource(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !slices.Contains(strings.Split(string(text), "\n"), "module torrente") {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, fabricSource))
	return err == nil && info.IsDir()
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
	c := exec.CommandContext(ctx, n.tool, append(args, "--dir", n.stage.path("network"))...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 20 * time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", fabricTool, err, strings.TrimSpace(string(out)))
	}
	return nil
}
