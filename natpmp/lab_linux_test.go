package natpmp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"torrente/internal/netlab"
)

// lab is three network namespaces: the internet, a router with Debian's
// miniupnpd, and a host behind it, over IPv4 with NAT and over IPv6 with a
// firewall. Nothing leaves them; the addresses only look public.
type lab struct {
	t       *testing.T
	net     *netlab.Lab
	router  *netlab.Router
	started time.Time // when the router's daemon was
}

// newLab needs root, as make test does. wan is the router's address
// in the internet.
func newLab(t *testing.T, wan string) *lab {
	t.Helper()
	n, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, net: n}
	t.Cleanup(l.close)
	l.closeWhenInterrupted()
	l.build(homeOf(wan))
	if l.router, err = n.Route("router", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	l.startRouter()
	return l
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
			l.net.Close()
			os.Exit(130)
		case <-ended:
		}
	}()
}

func (l *lab) close() {
	if err := l.net.Close(); err != nil {
		l.t.Error(err)
	}
}

// build runs commands in the lab, a line each.
func (l *lab) build(script string) {
	l.t.Helper()
	if err := l.net.Build(script); err != nil {
		l.t.Fatal(err)
	}
}

// homeOf builds the three namespaces.
func homeOf(wan string) string {
	subnet := wan[:strings.LastIndex(wan, ".")]
	return strings.NewReplacer("WAN", wan, "UPSTREAM", subnet+".1").Replace(`
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
		ip -n {host} route add default via fe80::1 dev eth
`)
}

// startRouter starts the router without any mapping.
func (l *lab) startRouter() {
	l.t.Helper()
	if err := errors.Join(l.router.Reset(), l.router.Start()); err != nil {
		l.t.Fatal(err)
	}
	l.started = time.Now()
}

// rebootRouter starts the router anew once it has run for longer than what
// epochs leave open (RFC 6887 8.5).
func (l *lab) rebootRouter() {
	<-time.After(time.Until(l.started.Add(5 * time.Second)))
	l.router.Stop() // what it knew is lost
	l.startRouter()
}

// mapped are the router's rules for mappings.
func (l *lab) mapped() string {
	l.t.Helper()
	all, err := l.router.Mapped()
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// role is this binary in a role, in one of the namespaces.
func (l *lab) role(namespace, role string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	c := l.net.In(context.Background(), namespace, self)
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
