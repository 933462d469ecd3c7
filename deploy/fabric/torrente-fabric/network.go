package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	Orderers int      `json:"orderers"` // of Raft, with those that are gone
	Members  []string `json:"members"`  // MSPs of the organisations, one peer each
	// BlockTime is how long transactions are collected for a block.
	BlockTime string `json:"block_time"`
	Ledger    string `json:"ledger,omitempty"`
	// How far the network has come. Each step may be taken again, so that a
	// command that was interrupted is given once more.
	Joined  bool   `json:"joined"`            // all have joined the channel
	Begun   bool   `json:"begun"`             // the chaincode is deployed, the ledger has begun
	Joining string `json:"joining,omitempty"` // the member that add-org has not finished with
	// Leaving is the orderer that rotate has not finished with: the last one takes
	// its place. Gone are those that are none any more, or never were.
	Leaving string   `json:"leaving,omitempty"`
	Gone    []string `json:"gone,omitempty"`
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
		if n.Port < 1 || n.Port > lastPort {
			return nil, false, fmt.Errorf("a network has %d ports, and there are not so many from %d on: give --port from 1 to %d", ports, n.Port, lastPort)
		}
		return n, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if err := n.read(text); err != nil {
		return nil, false, fmt.Errorf("%s is damaged (%w): remove the folder and make the network anew", n.path(networkFile), err)
	}
	if o.port != 0 && o.port != n.Port {
		return nil, false, fmt.Errorf("the network in %s has the ports from %d on, not %d: leave --port out, or make another network in another --dir", n.dir, n.Port, o.port)
	}
	return n, true, nil
}

// read reads what save wrote.
func (n *network) read(text []byte) error {
	if err := json.Unmarshal(text, n); err != nil {
		return err
	}
	all := n.Members
	switch {
	case n.Port < 1 || n.Port > lastPort:
		return fmt.Errorf("port is %d", n.Port)
	case n.Orderers < 1 || n.Orderers > maxOrderers || len(n.Gone) > maxOrderers || len(n.consenters()) == 0 || len(n.consenters()) >= maxNodes:
		return fmt.Errorf("orderers is %d, %d of them gone", n.Orderers, len(n.Gone))
	case n.Leaving != "" && (len(n.staying()) != len(n.consenters())-1 || n.Leaving == n.coming().Name):
		return fmt.Errorf("leaving is %.80q, which is no orderer or has just come", n.Leaving)
	case len(all) < 1 || len(all) > maxNodes || slices.ContainsFunc(all, func(m string) bool { return !validName(m) }):
		return fmt.Errorf("members are %.80q", all)
	case len(n.Packages) > len(all) || n.Begun && len(n.Packages) < len(all) || n.Next != nil && len(n.Next) != len(all):
		return fmt.Errorf("%d members have %d packages, and next %d", len(all), len(n.Packages), len(n.Next))
	}
	return nil
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

// A network has so many ports: orderers the first half, peers the second.
const (
	ports       = 1000
	lastPort    = 1<<16 - ports // that the first may be
	nodePorts   = 20            // of an orderer or a peer
	firstPeer   = 500
	maxNodes    = firstPeer / nodePorts // orderers, and peers, at a time
	maxOrderers = 1000                  // with those that are gone
)

// The ports of a node are its own and a few after it.
const (
	adminPort     = 3 // of an orderer
	operations    = 4
	chaincodePort = 8 // of a peer's chaincode service, or the one after it
)

// orderer is one of those that there are or were. The name is never another's,
// the port may once more be.
func (n *network) orderer(i int) node {
	name := fmt.Sprintf("orderer%d", i+1)
	return node{name, ordererMSP, filepath.Join(n.organisation(ordererMSP), "nodes", name), n.Port + nodePorts*(i%maxNodes)}
}

func (n *network) peer(i int) node {
	msp := n.Members[i]
	return node{"peer-" + strings.ToLower(msp), msp, filepath.Join(n.organisation(msp), "nodes", "peer"), n.Port + firstPeer + nodePorts*i}
}

func (n *network) consenters() []node { return n.orderers(false) }

// orderers are those that are gone, or those that are not.
func (n *network) orderers(gone bool) (all []node) {
	for i := range n.Orderers {
		if o := n.orderer(i); slices.Contains(n.Gone, o.Name) == gone {
			all = append(all, o)
		}
	}
	return all
}

// staying are the orderers without the one that rotate takes out.
func (n *network) staying() []node {
	return slices.DeleteFunc(n.consenters(), func(o node) bool { return o.Name == n.Leaving })
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
