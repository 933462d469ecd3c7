package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// channel and chaincode are the names of the one channel and its chaincode.
const (
	channel       = "torrente"
	chaincodeName = "torrente"
)

// ordererMSP is the organisation of the orderers.
const ordererMSP = "Orderers"

// network is what there is to run. It is kept in the folder's network.json.
type network struct {
	Port     int      `json:"port"`     // first of its ports
	Orderers int      `json:"orderers"` // of Raft
	Members  []string `json:"members"`  // MSPs of the organisations, one peer each
	// BlockTime is how long transactions are collected for a block.
	BlockTime string `json:"block_time"`
	Ledger    string `json:"ledger,omitempty"`
	// How far the network has come. Each step may be taken again, so that a
	// command that was interrupted is given once more.
	Joined  bool   `json:"joined"`            // all have joined the channel
	Begun   bool   `json:"begun"`             // the chaincode is deployed, the ledger has begun
	Joining string `json:"joining,omitempty"` // the member that add-org has not finished with
	// Sequence counts the chaincodes that the channel agreed on; 0 is the first.
	Sequence int `json:"sequence,omitempty"`
	// Packages are the ids of the chaincode's packages, one for each member: a
	// package holds its own peer's key for the chaincode. Next are those of the
	// chaincode that upgrade has not finished with.
	Packages []string `json:"packages,omitempty"`
	Next     []string `json:"next,omitempty"`

	dir    string // absolute
	source string // absolute: the project
}

// node is an orderer or a peer, and where its files are.
type node struct {
	Name string
	MSP  string
	Dir  string // of its certificates, or the organisation's for an organisation
	Port int    // the others follow it
}

// defaultPort is the first of a network's ports.
const defaultPort = 17000

const networkFile = "network.json"

// openNetwork reads the network in a folder, or plans a new one.
func openNetwork(o *options) (n *network, made bool, err error) {
	n = &network{Port: cmp.Or(o.port, defaultPort), Orderers: 3, Members: []string{"Alpha", "Beta", "Gamma"}, BlockTime: o.blockTime.String()}
	if n.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, false, err
	}
	source, err := filepath.Abs(o.source)
	if err != nil {
		return nil, false, err
	}
	// Processes are known by the paths of their programs, which have no links.
	if n.source, err = filepath.EvalSymlinks(source); err != nil {
		return nil, false, err
	}
	text, err := os.ReadFile(n.path(networkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return n, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if err := json.Unmarshal(text, n); err != nil {
		return nil, false, fmt.Errorf("%s is damaged (%w): remove the folder and make the network anew", n.path(networkFile), err)
	}
	if o.port != 0 && o.port != n.Port {
		return nil, false, fmt.Errorf("the network in %s has the ports from %d on, not %d: leave --port out, or make another network in another --dir", n.dir, n.Port, o.port)
	}
	return n, true, nil
}

func (n *network) save() error {
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(n.path(networkFile), append(text, '\n'), 0o600)
}

// keep does what is next and writes down how far the network has come.
func (n *network) keep(do func() error, reached func()) error {
	if err := do(); err != nil {
		return err
	}
	reached()
	return n.save()
}

func (n *network) path(parts ...string) string {
	return filepath.Join(append([]string{n.dir}, parts...)...)
}

// tool is a program of Fabric that was built.
func (n *network) tool(name string) string {
	return filepath.Join(n.source, "deploy", "fabric", "bin", name)
}

// organisation is the folder of an organisation's authorities.
func (n *network) organisation(msp string) string {
	return n.path("organisations", strings.ToLower(msp))
}

// The ports of a node are its own and a few after it.
const (
	adminPort     = 3 // of an orderer
	operations    = 4
	chaincodePort = 8 // of a peer's chaincode service, or the one after it
)

func (n *network) orderer(i int) node {
	name := fmt.Sprintf("orderer%d", i+1)
	return node{name, ordererMSP, filepath.Join(n.organisation(ordererMSP), "nodes", name), n.Port + 20*i}
}

func (n *network) peer(i int) node {
	msp := n.Members[i]
	return node{"peer-" + strings.ToLower(msp), msp, filepath.Join(n.organisation(msp), "nodes", "peer"), n.Port + 500 + 20*i}
}

func (n *network) consenters() (all []node) {
	for i := range n.Orderers {
		all = append(all, n.orderer(i))
	}
	return all
}

func (n *network) peers() (all []node) {
	for i := range n.Members {
		all = append(all, n.peer(i))
	}
	return all
}

// admin is the folder of the certificates of an organisation's administrator.
func (n *network) admin(msp string) string {
	return filepath.Join(n.organisation(msp), "nodes", "admin")
}

// client is that of who submits.
func (n *network) client(msp string) string {
	return filepath.Join(n.organisation(msp), "nodes", "client")
}
