//go:build fabric

package fabric

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// basePort is the first of the test network's ports.
const basePort = 27000

// realNetwork is a network of three orderers and three organisations on this
// machine, made by deploy/fabric/torrente-fabric.
type realNetwork struct {
	command, dir, source, genesis string
}

func newNetwork(t testing.TB, genesis []byte) *realNetwork {
	t.Helper()
	n := &realNetwork{
		command: filepath.Join(t.TempDir(), "torrente-fabric"), dir: filepath.Join(t.TempDir(), "network"),
		source: must[string](t)(filepath.Abs("../../..")), genesis: filepath.Join(t.TempDir(), "genesis"),
	}
	if err := os.WriteFile(n.genesis, genesis, 0o600); err != nil {
		t.Fatal(err)
	}
	n.build(t, "./deploy/fabric/torrente-fabric", n.command)
	t.Cleanup(func() { n.run(t, "down") })
	n.run(t, "up")
	return n
}

// build builds a program of this project.
func (n *realNetwork) build(t testing.TB, what, to string, flags ...string) {
	t.Helper()
	build := exec.Command("go", append(append([]string{"build"}, flags...), "-o", to, what)...)
	build.Dir = n.source
	if info, err := os.Stat(filepath.Join(n.source, what, "go.mod")); err == nil && !info.IsDir() { // a module of its own
		build.Dir, build.Args[len(build.Args)-1] = filepath.Join(n.source, what), "."
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// torrenteFabric is a command of it.
func (n *realNetwork) torrenteFabric(command string, flags ...string) *exec.Cmd {
	all := []string{command, "--dir", n.dir, "--source", n.source, "--genesis", n.genesis, "--port", fmt.Sprint(basePort)}
	return exec.Command(n.command, append(all, flags...)...)
}

// start begins a command.
func (n *realNetwork) start(t testing.TB, command string, flags ...string) *exec.Cmd {
	t.Helper()
	c := n.torrenteFabric(command, flags...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// try runs a command to its end.
func (n *realNetwork) try(command string, flags ...string) error {
	out, err := n.torrenteFabric(command, flags...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}

// run runs one that has to succeed.
func (n *realNetwork) run(t testing.TB, command string, flags ...string) {
	t.Helper()
	began := time.Now()
	if err := n.try(command, flags...); err != nil {
		t.Fatalf("%v\n%s", err, n.logs())
	}
	t.Logf("%s took %s", command, time.Since(began).Round(10*time.Millisecond))
}

// logs are the last lines of each process.
func (n *realNetwork) logs() string {
	var all strings.Builder
	names, _ := filepath.Glob(filepath.Join(n.dir, "log", "*"))
	for _, name := range names {
		text, _ := os.ReadFile(name)
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(name), text[max(0, len(text)-800):])
	}
	return all.String()
}

// profile is an organisation's connection profile.
func (n *realNetwork) profile(t testing.TB, organisation string) *Profile {
	t.Helper()
	return must[*Profile](t)(ReadProfile(filepath.Join(n.dir, "profiles", organisation+".json")))
}

// client is the ledger through the gateways of an organisation's profile.
func (n *realNetwork) client(t testing.TB, organisation string) *Client {
	t.Helper()
	return connect(t, n.profile(t, organisation))
}

func connect(t testing.TB, p *Profile) *Client {
	t.Helper()
	c := must[*Client](t)(New(p))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// tls is the folder of the TLS files of an organisation's peer.
func (n *realNetwork) tls(organisation string) string {
	return filepath.Join(n.dir, "organisations", organisation, "nodes", "peer", "tls")
}

// pid is that of a process of the network.
func (n *realNetwork) pid(t testing.TB, name string) int {
	t.Helper()
	text := must[[]byte](t)(os.ReadFile(filepath.Join(n.dir, "pids", name)))
	number, _, _ := strings.Cut(string(text), " ")
	return must[int](t)(strconv.Atoi(number))
}

func (n *realNetwork) signal(t testing.TB, name string, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(n.pid(t, name), s); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// kill ends a process of the network at once, and waits until it has given back
// its ports and files.
func (n *realNetwork) kill(t testing.TB, name string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d", n.pid(t, name))
	n.signal(t, name, syscall.SIGKILL)
	until(t, name+" is gone", func() bool {
		text, err := os.ReadFile(dir + "/stat")
		threads, gone := os.ReadDir(dir + "/task")
		return err != nil || gone != nil || len(threads) <= 1 && strings.Contains(string(text), ") Z ")
	})
}

func orderer(number int) string { return fmt.Sprintf("orderer%d", number+1) }

// occupy listens where a process of the network wants to.
func occupy(t testing.TB, port int) net.Listener {
	t.Helper()
	return must[net.Listener](t)(net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)))
}
