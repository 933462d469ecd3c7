package natpmp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lab is three network namespaces: the internet, a router with Debian's
// miniupnpd, and a host behind it, over IPv4 with NAT and over IPv6 with a
// firewall. Nothing leaves them; the addresses only look public.
type lab struct {
	t      *testing.T
	prefix string // of the names of its namespaces
	wan    string // the router's address there
	daemon *exec.Cmd
	conf   string
	once   sync.Once

	started time.Time // when the daemon was
}

// newLab skips the test where namespaces cannot be made.
func newLab(t *testing.T, wan string) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("routers take their time to start")
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, name := range []string{"ip", "nft", "miniupnpd"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(name + " is not installed; tools/debian does")
		}
	}
	sweep()
	l := &lab{t: t, prefix: fmt.Sprintf("natpmp%d-", os.Getpid()), wan: wan}
	if out, err := exec.Command("ip", "netns", "add", l.prefix+"probe").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %s", out)
	}
	exec.Command("ip", "netns", "del", l.prefix+"probe").Run()
	t.Cleanup(l.close)
	l.closeWhenInterrupted()
	l.build()
	return l
}

// sweep removes the namespaces of labs whose process was killed. Their daemons
// died with it.
func sweep() {
	out, _ := exec.Command("ip", "netns", "list").Output()
	for _, line := range strings.Split(string(out), "\n") {
		name, _, _ := strings.Cut(line, " ")
		var pid int
		if n, _ := fmt.Sscanf(name, "natpmp%d-", &pid); n != 1 {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
			exec.Command("ip", "netns", "del", name).Run()
		}
	}
}

// closeWhenInterrupted removes the namespaces before the interrupt ends the
// process.
func (l *lab) closeWhenInterrupted() {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	l.t.Cleanup(func() {
		signal.Stop(interrupted)
		close(ended)
	})
	go func() {
		select {
		case <-interrupted:
			l.close()
			os.Exit(130)
		case <-ended:
		}
	}()
}

// close ends the daemon and removes the namespaces, with what is in them.
func (l *lab) close() {
	l.once.Do(func() {
		l.stopRouter()
		for _, name := range []string{"net", "router", "host"} {
			exec.Command("ip", "netns", "del", l.prefix+name).Run()
		}
	})
}

// build runs one command a line; names of namespaces stand in braces.
func (l *lab) build() {
	subnet := l.wan[:strings.LastIndex(l.wan, ".")]
	script := strings.NewReplacer("{", l.prefix, "}", "", "WAN", l.wan, "UPSTREAM", subnet+".1").Replace(`
		ip netns add {net}
		ip netns add {router}
		ip netns add {host}
		ip -n {net} link add uplink type veth peer name wan netns {router}
		ip -n {host} link add eth type veth peer name lan netns {router}
		ip -n {router} link set lan addrgenmode none
		ip -n {net} addr add UPSTREAM/24 dev uplink
		ip -n {net} addr add 2a00:1::1/64 dev uplink nodad
		ip -n {router} addr add WAN/24 dev wan
		ip -n {router} addr add 2a00:1::2/64 dev wan nodad
		ip -n {router} addr add 192.168.7.1/24 dev lan
		ip -n {router} addr add 2a00:2::1/64 dev lan nodad
		ip -n {router} addr add fe80::1/64 dev lan nodad
		ip -n {host} addr add 192.168.7.34/24 dev eth
		ip -n {host} addr add 192.168.7.35/24 dev eth
		ip -n {host} addr add 2a00:2::22/64 dev eth nodad
		ip -n {net} link set lo up
		ip -n {net} link set uplink up
		ip -n {router} link set lo up
		ip -n {router} link set wan up
		ip -n {router} link set lan up
		ip -n {host} link set lo up
		ip -n {host} link set eth up
		ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		ip -n {router} route add default via UPSTREAM
		ip -n {router} route add default via 2a00:1::1
		ip -n {net} route add 2a00:2::/64 via 2a00:1::2
		ip -n {host} route add default via 192.168.7.1
		ip -n {host} route add default via fe80::1 dev eth`)
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		l.command(strings.Fields(line)...)
	}
	l.conf = filepath.Join(l.t.TempDir(), "miniupnpd.conf")
	if err := os.WriteFile(l.conf, []byte(routerConf), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.startRouter()
}

const routerConf = `ext_ifname=wan
ext_ifname6=wan
listening_ip=lan
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
system_uptime=no
ipv6_disable=no
uuid=6f1a5c9e-3a0e-4d0c-9d2b-000000009003
upnp_table_name=filter
upnp_nat_table_name=nat
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`

// rules are those of a router without any mapping.
const rules = `flush ruleset
table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "lan" accept
		jump miniupnpd
	}
	chain miniupnpd { }
}
table inet nat {
	chain prerouting {
		type nat hook prerouting priority -100;
		jump prerouting_miniupnpd
	}
	chain postrouting {
		type nat hook postrouting priority 100;
		jump postrouting_miniupnpd
		meta nfproto ipv4 oifname "wan" masquerade
	}
	chain prerouting_miniupnpd { }
	chain postrouting_miniupnpd { }
}
`

// startRouter starts the router without any mapping. Its daemon dies with this
// process, should that be killed.
func (l *lab) startRouter() {
	nft := l.in("router", "nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	if out, err := nft.CombinedOutput(); err != nil {
		l.t.Fatalf("nft: %v: %s", err, out)
	}
	l.daemon = l.in("router", "miniupnpd", "-d", "-f", l.conf, "-P", l.conf+".pid")
	l.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := l.daemon.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.daemon.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.started = time.Now()
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "Listening for NAT-PMP/PCP traffic") {
	}
	go func() {
		for lines.Scan() { // so that the daemon doesn't wait for a reader
		}
	}()
}

// rebootRouter starts the router anew once it has run for longer than what
// epochs leave open (RFC 6887 8.5).
func (l *lab) rebootRouter() {
	<-time.After(time.Until(l.started.Add(5 * time.Second)))
	l.stopRouter()
	l.startRouter()
}

// stopRouter ends the daemon at once: what it knew is lost.
func (l *lab) stopRouter() {
	if l.daemon == nil {
		return
	}
	l.daemon.Process.Kill()
	l.daemon.Wait()
	l.daemon = nil
}

// mapped are the router's rules for mappings.
func (l *lab) mapped() string {
	return l.command("ip", "netns", "exec", l.prefix+"router", "nft", "list", "chain", "inet", "nat", "prerouting_miniupnpd") +
		l.command("ip", "netns", "exec", l.prefix+"router", "nft", "list", "chain", "inet", "filter", "miniupnpd")
}

// in is a command in one of the namespaces.
func (l *lab) in(namespace string, argv ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", l.prefix + namespace}, argv...)...)
}

func (l *lab) command(argv ...string) string {
	l.t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// role is this binary in a role, in one of the namespaces.
func (l *lab) role(namespace, role string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	c := l.in(namespace, self)
	// The race detector's runtime would wait a second at the end of each.
	c.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	return c
}

// dial returns what somebody in the internet is told at an address.
func (l *lab) dial(address string) string {
	out, _ := l.role("net", "dial "+address).Output()
	return string(out)
}

// mapper is a host that keeps its port mapped.
type mapper struct {
	t       *testing.T
	command *exec.Cmd
	input   io.Closer
	reports chan report
	log     bytes.Buffer
}

func (l *lab) mapper(protocols string) *mapper {
	m := &mapper{t: l.t, command: l.role("host", "map "+protocols), reports: make(chan report, 1024)}
	input, err := m.command.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	m.input = input
	output, err := m.command.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	m.command.Stderr = &m.log
	if err := m.command.Start(); err != nil {
		l.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(m.reports)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			var r report
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				m.reports <- r
			}
		}
	}()
	l.t.Cleanup(func() {
		m.command.Process.Kill()
		<-read
		m.command.Wait()
		if l.t.Failed() {
			l.t.Logf("the mapper's log:\n%s", m.log.String())
		}
	})
	return m
}

// until waits for a report of which what holds.
func (m *mapper) until(what string, holds func(Status) bool) report {
	m.t.Helper()
	var last report
	timeout := time.After(45 * time.Second)
	for {
		select {
		case r, ok := <-m.reports:
			if !ok {
				m.t.Fatalf("the mapper ended before: %s; last %s", what, last.Sentence)
			}
			last = r
			if holds(r.Status) {
				return r
			}
		case <-timeout:
			m.t.Fatalf("waited in vain for: %s; last %s", what, last.Sentence)
		}
	}
}

// end lets the mapper release and end, which it does without a leak.
func (m *mapper) end() {
	m.t.Helper()
	m.input.Close()
	for range m.reports {
	}
	if err := m.command.Wait(); err != nil {
		m.t.Fatalf("the mapper: %v", err)
	}
}
