package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// fabricTools are Fabric's own programs.
var fabricTools = []string{"peer", "orderer", "osnadmin", "configtxgen", "configtxlator"}

// build builds Fabric's programs, once, and our chaincode for each network anew,
// into its own folder. One that was made goes on with the chaincode that it has: its services run.
func (n *network) build(ctx context.Context, made bool) error {
	if err := n.buildTools(ctx); err != nil {
		return err
	}
	program := n.release().program()
	if _, err := os.Stat(program); made && err == nil {
		return nil
	}
	return n.buildChaincode(ctx, program)
}

func (n *network) buildChaincode(ctx context.Context, program string) error {
	_, err := run(ctx, filepath.Join(n.source, "cmd", "torrente-chaincode"), nil, "go", "build", "-o", program, ".")
	return err
}

// buildTools takes about a minute and a half when nothing is in the caches.
func (n *network) buildTools(ctx context.Context) error {
	missing := false
	for _, name := range fabricTools {
		_, err := os.Stat(n.tool(name))
		missing = missing || errors.Is(err, fs.ErrNotExist)
	}
	if !missing {
		return nil
	}
	env := []string{"GOBIN=" + filepath.Dir(n.tool("peer"))}
	_, err := run(ctx, filepath.Join(n.source, "deploy", "fabric", "tools"), env, "go", "install", "tool")
	return err
}
