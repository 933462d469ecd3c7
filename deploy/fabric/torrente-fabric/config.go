package main

import (
	"bytes"
	"embed"
	"os"
	"path/filepath"
	"text/template"

	"github.com/google/renameio/v2"
)

//go:embed templates/*.yaml
var templates embed.FS

//go:embed builder/bin/*
var builder embed.FS

// fill writes a configuration file made from a template. One of before is whole until
// the new one is.
func fill(path, name string, values any) error {
	t, err := template.ParseFS(templates, "templates/"+name)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&out, values); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, out.Bytes(), 0o600)
}

func (n *network) configureOrderer(o node) error {
	return fill(n.path(o.Name, "orderer.yaml"), "orderer.yaml", map[string]any{
		"PORT": o.Port, "ADMIN": o.Port + adminPort, "OPS": o.Port + operations, "MSPID": o.MSP,
		// How long a follower waits for the leader when it hands on a transaction:
		// with the default of 7 s, clients notice a dead leader that late.
		"RPC": "1s",
		"MSP": filepath.Join(o.Dir, "msp"), "TLS": filepath.Join(o.Dir, "tls"), "DATA": n.path(o.Name, "data"),
	})
}

func (n *network) configurePeer(p node) error {
	return fill(n.path(p.Name, "core.yaml"), "core.yaml", map[string]any{
		"ID": p.Name, "PORT": p.Port, "CCLISTEN": p.Port + 1, "OPS": p.Port + operations, "MSPID": p.MSP,
		"MSP": filepath.Join(p.Dir, "msp"), "TLS": filepath.Join(p.Dir, "tls"), "DATA": n.path(p.Name, "data"),
		"BUILDER": n.path("builder"), "DETOURS": n.detours(), "ROOTS": n.ordererRoots(),
	})
}

func (n *network) configureChannel() error {
	var members []node
	for _, p := range n.peers() {
		members = append(members, node{p.Name, p.MSP, n.organisation(p.MSP), p.Port})
	}
	return fill(n.path("channel", "configtx.yaml"), "configtx.yaml", map[string]any{
		"Orderers": node{Dir: n.organisation(ordererMSP)}, "Consenters": n.consenters(), "Organisations": members, "BlockTime": n.BlockTime,
	})
}

// writeBuilder writes the scripts by which a peer takes a package that names a
// chaincode service.
func (n *network) writeBuilder() error {
	for _, name := range []string{"detect", "build", "release"} {
		text, err := builder.ReadFile("builder/bin/" + name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(n.path("builder", "bin"), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(n.path("builder", "bin", name), text, 0o700); err != nil {
			return err
		}
	}
	return nil
}
