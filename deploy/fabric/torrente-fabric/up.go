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

// startAll starts all processes and waits until they listen.
func (n *network) startAll(ctx context.Context) error {
	for _, o := range n.consenters() {
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
	for _, one := range append(n.consenters(), n.peers()...) {
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
		if err := n.joinOrderer(ctx, o); err != nil {
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

// joinOrderer reads the answer: osnadmin calls it a success that it got one.
func (n *network) joinOrderer(ctx context.Context, o node) error {
	if err := n.waitUntilUp(ctx, o.Name, o.Port+adminPort); err != nil {
		return err
	}
	admin := filepath.Join(n.admin(ordererMSP), "tls")
	answer, err := run(ctx, n.dir, nil, n.tool("osnadmin"), "channel", "join", "--channelID", channel, "--config-block", n.firstBlock(),
		"-o", fmt.Sprintf("127.0.0.1:%d", o.Port+adminPort), "--ca-file", filepath.Join(o.Dir, "tls", "ca.crt"),
		"--client-cert", filepath.Join(admin, "server.crt"), "--client-key", filepath.Join(admin, "server.key"))
	if err == nil && !strings.Contains(answer, "Status: 201") && !strings.Contains(answer, "channel already exists") {
		err = fmt.Errorf("%s does not join the channel, see %s: %s", o.Name, n.path("log", o.Name), strings.TrimSpace(answer))
	}
	return err
}

func (n *network) joinPeer(ctx context.Context, member int) error {
	_, err := n.asAdmin(ctx, member, "channel", "join", "-b", n.firstBlock())
	return unless(err, "already exists")
}

// asAdmin runs Fabric's peer command as the administrator of a member.
func (n *network) asAdmin(ctx context.Context, member int, args ...string) (string, error) {
	p := n.peer(member)
	env := []string{
		"FABRIC_CFG_PATH=" + n.path(p.Name), "FABRIC_LOGGING_SPEC=error",
		"CORE_PEER_MSPCONFIGPATH=" + filepath.Join(n.admin(p.MSP), "msp"),
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

// raft reads one of an orderer's figures about its channel. It is -1 if it does
// not tell.
func raft(o node, figure string) int {
	web := &http.Client{Timeout: time.Second}
	answer, err := web.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", o.Port+operations))
	if err != nil {
		return -1
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	_ = answer.Body.Close() // it was read
	_, after, found := strings.Cut(string(text), "\nconsensus_etcdraft_"+figure+`{channel="`+channel+`"} `)
	line, _, _ := strings.Cut(after, "\n")
	value, bad := strconv.Atoi(line)
	if err != nil || !found || bad != nil {
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
	fmt.Println("ledger", n.Ledger)
	return nil
}
