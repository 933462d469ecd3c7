package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// patience is how long any part of the network may take to answer.
const patience = 60 * time.Second

// up makes the network if there is none, and starts all that does not run.
func up(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	if err != nil {
		return err
	}
	if err := n.build(ctx, made); err != nil {
		return err
	}
	if !made {
		if err := n.keep(func() error { return n.make(ctx) }, func() {}); err != nil {
			return err
		}
	}
	if err := n.startAll(ctx); err != nil {
		return err
	}
	if !n.Joined {
		if err := n.keep(func() error { return n.join(ctx) }, func() { n.Joined = true }); err != nil {
			return err
		}
	}
	if err := waitFor(ctx, patience, n.hasLeader); err != nil {
		return err
	}
	if o.genesis == "" || n.Begun {
		return nil
	}
	return n.deploy(ctx, o.genesis)
}

// make makes certificates, configurations and the channel's first block.
func (n *network) make(ctx context.Context) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if err := errors.Join(n.makeOrganisations(), n.writeBuilder(), n.configureChannel()); err != nil {
		return err
	}
	for _, o := range n.consenters() {
		if err := n.configureOrderer(o); err != nil {
			return err
		}
	}
	for _, p := range n.peers() {
		if err := n.configurePeer(p); err != nil {
			return err
		}
	}
	_, err := run(ctx, n.dir, []string{"FABRIC_CFG_PATH=" + n.path("channel")}, n.tool("configtxgen"),
		"-profile", "Torrente", "-channelID", channel, "-outputBlock", n.firstBlock())
	return err
}

func (n *network) firstBlock() string { return n.path("channel", "first.block") }

// startAll starts all processes and waits until they listen. An orderer that leaves
// is not waited for: its disk may be dead, and the others are enough.
func (n *network) startAll(ctx context.Context) error {
	for _, o := range n.staying() {
		if err := n.start(o.Name, []int{o.Port, o.Port + adminPort, o.Port + operations}, n.configured(o), n.tool("orderer")); err != nil {
			return err
		}
	}
	for i, p := range n.peers() {
		if err := n.startPeer(p); err != nil {
			return err
		}
		if err := errors.Join(n.release().start(i), n.next().start(i)); err != nil {
			return err
		}
	}
	for _, one := range append(n.staying(), n.peers()...) {
		if err := n.waitUntilUp(ctx, one.Name, one.Port); err != nil {
			return err
		}
	}
	for i := range n.Members {
		if err := errors.Join(n.release().isUp(ctx, i), n.next().isUp(ctx, i)); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) startPeer(p node) error {
	return n.start(p.Name, []int{p.Port, p.Port + 1, p.Port + operations}, n.configured(p), n.tool("peer"), "node", "start")
}

// configured is the environment that tells a process of Fabric its configuration.
func (n *network) configured(one node) []string {
	return []string{"FABRIC_CFG_PATH=" + n.path(one.Name), "FABRIC_LOGGING_SPEC=" + quietly}
}

// join has all orderers and peers join the channel that have not.
func (n *network) join(ctx context.Context) error {
	for _, o := range n.consenters() {
		if err := n.joinOrderer(ctx, o, n.firstBlock()); err != nil {
			return err
		}
	}
	for i := range n.Members {
		if err := n.joinPeer(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// joinOrderer has an orderer join the channel as a block has its configuration.
func (n *network) joinOrderer(ctx context.Context, o node, block string) error {
	if err := n.waitUntilUp(ctx, o.Name, o.Port+adminPort); err != nil {
		return err
	}
	answer, err := n.osnadmin(ctx, o, "join", "--config-block", block)
	if err == nil && !strings.Contains(answer, "Status: 201") && !strings.Contains(answer, "channel already exists") {
		err = fmt.Errorf("%s does not join the channel, see %s: %s", o.Name, n.path("log", o.Name), strings.TrimSpace(answer))
	}
	return err
}

// osnadmin asks an orderer's administration. Its answer must be read: the program
// calls it a success that there is one.
func (n *network) osnadmin(ctx context.Context, o node, command string, args ...string) (string, error) {
	admin := filepath.Join(n.admin(ordererMSP), "tls")
	all := []string{
		"channel", command, "--channelID", channel, "-o", fmt.Sprintf("127.0.0.1:%d", o.Port+adminPort), "--ca-file", n.ordererRoots(),
		"--client-cert", filepath.Join(admin, "server.crt"), "--client-key", filepath.Join(admin, "server.key"),
	}
	return run(ctx, n.dir, nil, n.tool("osnadmin"), append(all, args...)...)
}

func (n *network) joinPeer(ctx context.Context, member int) error {
	_, err := n.asAdmin(ctx, member, "channel", "join", "-b", n.firstBlock())
	return unless(err, "already exists")
}

// asAdmin runs Fabric's peer command as the administrator of a member.
func (n *network) asAdmin(ctx context.Context, member int, args ...string) (string, error) {
	p := n.peer(member)
	return n.asAdminOf(ctx, p.MSP, p, args...)
}

// asAdminOf runs it as the administrator of any organisation, by the configuration of
// a peer: the orderers' has none of its own.
func (n *network) asAdminOf(ctx context.Context, msp string, p node, args ...string) (string, error) {
	env := []string{
		"FABRIC_CFG_PATH=" + n.path(p.Name), "FABRIC_LOGGING_SPEC=error", "CORE_PEER_LOCALMSPID=" + msp,
		"CORE_PEER_MSPCONFIGPATH=" + filepath.Join(n.admin(msp), "msp"),
	}
	return run(ctx, n.dir, env, n.tool("peer"), args...)
}

// hasLeader asks the orderers whether one of them leads.
func (n *network) hasLeader() error {
	for _, o := range n.consenters() {
		if raft(o, "is_leader") == 1 {
			return nil
		}
	}
	return errors.New("the orderers have no leader")
}

// isBack asks whether an orderer that was started has found a leader.
func (n *network) isBack(o node) error {
	if raft(o, "leader_changes") < 1 { // of which the first is to learn of one
		return fmt.Errorf("%s does not find the others, see %s", o.Name, n.path("log", o.Name))
	}
	return nil
}

// raft reads one of an orderer's figures about its cluster.
func raft(o node, name string) int { return figure(o, "consensus_etcdraft_"+name) }

// figure reads one of a process's figures about the channel. It is -1 if it does not
// tell.
func figure(one node, name string) int {
	web := &http.Client{Timeout: time.Second}
	answer, err := web.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", one.Port+operations))
	if err != nil {
		return -1
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	_ = answer.Body.Close() // it was read
	if err != nil {
		return -1
	}
	return figureIn(string(text), name)
}

// figureIn finds a figure among all of a process's.
func figureIn(text, name string) int {
	_, after, found := strings.Cut(text, "\n"+name+`{channel="`+channel+`"} `)
	line, _, _ := strings.Cut(after, "\n")
	value, err := strconv.Atoi(line)
	if err != nil || !found {
		return -1
	}
	return value
}

// down stops everything, one after another: peers first, then orderers, then the
// chaincode's services.
func down(_ context.Context, o *options) error {
	n, _, err := openNetwork(o)
	if err != nil {
		return err
	}
	names, err := n.processes()
	if err != nil {
		return err
	}
	var failed error
	for i := len(names) - 1; i >= 0; i-- {
		failed = errors.Join(failed, n.stop(names[i]))
	}
	return failed
}

// status says what runs.
func status(_ context.Context, o *options) error {
	n, made, err := openNetwork(o)
	if err != nil {
		return err
	}
	if !made {
		return fmt.Errorf("%s holds no network: make one with up", n.dir)
	}
	names, err := n.processes()
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, err := n.running(name)
		if err != nil {
			return err
		}
		if pid == 0 {
			fmt.Printf("%-20s does not run, see %s\n", name, n.path("log", name))
			continue
		}
		fmt.Printf("%-20s process %d\n", name, pid)
	}
	if err := n.hasLeader(); err != nil {
		fmt.Println(err)
	}
	if n.Next != nil {
		fmt.Println(errUpgrading)
	}
	if n.Leaving != "" {
		fmt.Println(n.rotating())
	}
	fmt.Println("ledger", n.Ledger)
	return nil
}
