//go:build fabric

package fabric

import (
	"fmt"
	"io"
	"net/http"
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

func newNetwork(t *testing.T, genesis []byte) *realNetwork {
	t.Helper()
	n := &realNetwork{
		command: filepath.Join(t.TempDir(), "torrente-fabric"), dir: filepath.Join(t.TempDir(), "network"),
		source: must[string](t)(filepath.Abs("../../..")), genesis: filepath.Join(t.TempDir(), "genesis"),
	}
	if err := os.WriteFile(n.genesis, genesis, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", n.command, "./deploy/fabric/torrente-fabric")
	build.Dir = n.source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { n.run(t, "down") })
	n.run(t, "up")
	return n
}

func (n *realNetwork) run(t *testing.T, command string, flags ...string) {
	t.Helper()
	began := time.Now()
	all := []string{command, "--dir", n.dir, "--source", n.source, "--genesis", n.genesis, "--port", fmt.Sprint(basePort)}
	out, err := exec.Command(n.command, append(all, flags...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s\n%s", command, err, out, n.logs())
	}
	if err != nil && command == "up" {
		t.FailNow()
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

// client is the ledger through the gateways of an organisation's profile.
func (n *realNetwork) client(t *testing.T, organisation string) *Client {
	t.Helper()
	p := must[*Profile](t)(ReadProfile(filepath.Join(n.dir, "profiles", organisation+".json")))
	c := must[*Client](t)(New(p))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// kill ends a process of the network at once.
func (n *realNetwork) kill(t *testing.T, name string) {
	t.Helper()
	text := must[[]byte](t)(os.ReadFile(filepath.Join(n.dir, "pids", name)))
	number, _, _ := strings.Cut(string(text), " ")
	if err := syscall.Kill(must[int](t)(strconv.Atoi(number)), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// leader is the name of the orderer that leads.
func (n *realNetwork) leader(t *testing.T) string {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	for i := range 3 {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", basePort+20*i+4))
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if strings.Contains(string(text), `consensus_etcdraft_is_leader{channel="torrente"} 1`) {
			return fmt.Sprintf("orderer%d", i+1)
		}
	}
	t.Fatal("the orderers have no leader")
	return ""
}
