//go:build fabric

package fabric

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faults does to the network what happens to networks, while all organisations
// transact. Nobody may see an error.
func faults(t *testing.T, n *realNetwork, m *members) {
	start := func(t *testing.T) { n.run(t, "up") }
	hung := ""
	for _, one := range []struct {
		what string
		harm func(t *testing.T)
		// goesOn says that transactions are committed before it is repaired.
		goesOn bool
		repair func(t *testing.T)
	}{
		{"the leader dies", func(t *testing.T) { n.kill(t, orderer(n.leader(t))) }, true, start},
		{"a peer dies", func(t *testing.T) { n.kill(t, "peer-alpha") }, true, start},
		{"a chaincode dies", func(t *testing.T) { n.kill(t, "chaincode-beta") }, true, start},
		{"two orderers of three die", func(t *testing.T) {
			n.kill(t, orderer(0))
			n.kill(t, orderer(1))
			until(t, "the third leads nobody", func() bool { return !leads(2) })
		}, false, start},
		{"everything dies", func(t *testing.T) { n.killAll(t) }, false, start},
		{"the leader hangs", func(t *testing.T) {
			hung = orderer(n.leader(t))
			n.signal(t, hung, syscall.SIGSTOP)
		}, true, func(t *testing.T) { n.signal(t, hung, syscall.SIGCONT) }},
		{
			"a peer hangs", func(t *testing.T) { n.signal(t, "peer-beta", syscall.SIGSTOP) }, true,
			func(t *testing.T) { n.signal(t, "peer-beta", syscall.SIGCONT) },
		},
		{"an endorser's clock is wrong", func(t *testing.T) {
			n.replaceChaincode(t, "gamma", "", "TORRENTE_CLOCK_OFFSET=10m")
		}, true, func(t *testing.T) { n.kill(t, "chaincode-gamma"); start(t) }},
		{"a chaincode was tampered with", func(t *testing.T) {
			n.replaceChaincode(t, "alpha", n.tampered(t))
		}, true, func(t *testing.T) { n.kill(t, "chaincode-alpha"); start(t) }},
	} {
		ok := t.Run(one.what, func(t *testing.T) {
			l := m.begin(t, n)
			l.recovers(t, "the start", time.Now())
			at := time.Now()
			one.harm(t)
			if one.goesOn {
				l.recovers(t, "the fault", at)
			}
			at = time.Now()
			one.repair(t)
			l.recovers(t, "the repair began", at)
			l.goesHome(t, at)
			l.finish(t, m)
		})
		if !ok {
			return
		}
	}
}

// leads reports whether an orderer says that it is the leader.
func leads(orderer int) bool {
	web := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := web.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", basePort+20*orderer+4))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return strings.Contains(string(text), `consensus_etcdraft_is_leader{channel="torrente"} 1`)
}

// leader is the number of the orderer that leads, from 0 on.
func (n *realNetwork) leader(t testing.TB) (leader int) {
	t.Helper()
	until(t, "an orderer leads", func() bool {
		for _, leader = range n.orderers(t) {
			if leads(leader) {
				return true
			}
		}
		return false
	})
	return leader
}

// orderers are the numbers of those that were started, from 0 on.
func (n *realNetwork) orderers(t testing.TB) (all []int) {
	t.Helper()
	for _, path := range must[[]string](t)(filepath.Glob(filepath.Join(n.dir, "pids", "orderer*"))) {
		all = append(all, must[int](t)(strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "orderer")))-1)
	}
	return all
}

func (n *realNetwork) killAll(t *testing.T) {
	t.Helper()
	for _, f := range must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(n.dir, "pids"))) {
		n.kill(t, f.Name())
	}
}

// tampered builds a chaincode that credits twice what was transferred.
func (n *realNetwork) tampered(t *testing.T) string {
	t.Helper()
	return n.changed(t, "payment/contract/account.go", "r.give(a.To, a.Coins)", "r.give(a.To, 2*a.Coins)")
}
