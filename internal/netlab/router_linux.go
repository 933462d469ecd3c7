package netlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rules are those of a home's router: who is inside may connect to all, who is outside
// to nobody, and IPv4 is translated. %s are forwardings that a person set up: first
// where connections are let through, then where their destination is translated.
const rules = `flush ruleset
table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "lan" accept
		%s
		jump miniupnpd
	}
	chain miniupnpd { }
}
table inet nat {
	chain prerouting {
		type nat hook prerouting priority -100;
		%s
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

// miniupnpd speaks PCP, NAT-PMP and UPnP.
const miniupnpd = `ext_ifname=wan
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

// Forwarding is a port that a person has opened in a router's settings.
type Forwarding struct {
	Port uint16
	To   string // an IPv4 address inside
}

// Router is a namespace with the links lan and wan that forwards and translates.
type Router struct {
	lab       *Lab
	namespace string
	conf      string
	daemon    *exec.Cmd // nil: it speaks no protocol
}

// Route makes a namespace a router. Its files are in dir.
func (l *Lab) Route(namespace, dir string, by ...Forwarding) (*Router, error) {
	r := &Router{lab: l, namespace: namespace, conf: filepath.Join(dir, namespace+".conf")}
	l.mu.Lock()
	l.routers = append(l.routers, r)
	l.mu.Unlock()
	return r, errors.Join(os.WriteFile(r.conf, []byte(miniupnpd), 0o600), r.Reset(by...))
}

// Reset removes all mappings, and sets up what a person has opened.
func (r *Router) Reset(by ...Forwarding) error {
	var through, to []string
	for _, f := range by {
		through = append(through, fmt.Sprintf("iifname \"wan\" ip daddr %s tcp dport %d accept", f.To, f.Port))
		to = append(to, fmt.Sprintf("meta nfproto ipv4 iifname \"wan\" tcp dport %d dnat ip to %s", f.Port, f.To))
	}
	nft := r.lab.In(context.Background(), r.namespace, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(fmt.Sprintf(rules, strings.Join(through, "\n"), strings.Join(to, "\n")))
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft in %s: %w: %s", r.namespace, err, out)
	}
	return nil
}

// Start has the router answer by PCP, NAT-PMP and UPnP from when it returns on.
func (r *Router) Start() error {
	r.daemon = r.lab.In(context.Background(), r.namespace, "miniupnpd", "-d", "-f", r.conf, "-P", r.conf+".pid")
	log, err := r.daemon.StderrPipe()
	if err != nil {
		return err
	}
	if err := r.daemon.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Listening for NAT-PMP/PCP traffic") {
			go func() {
				for lines.Scan() { // so that the daemon does not wait for a reader
				}
			}()
			return nil
		}
	}
	r.Stop()
	return fmt.Errorf("miniupnpd in %s ended before it listened", r.namespace)
}

// Stop ends the daemon at once: what it knew is lost.
func (r *Router) Stop() {
	if r.daemon == nil {
		return
	}
	_ = r.daemon.Process.Kill() // it may have ended
	_ = r.daemon.Wait()         // it was killed
	r.daemon = nil
}

// Mapped are the router's rules for mappings, as nft lists them.
func (r *Router) Mapped() (string, error) {
	var all strings.Builder
	for _, chain := range [][2]string{{"nat", "prerouting_miniupnpd"}, {"filter", "miniupnpd"}} {
		out, err := r.lab.In(context.Background(), r.namespace, "nft", "list", "chain", "inet", chain[0], chain[1]).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("nft in %s: %w: %s", r.namespace, err, out)
		}
		all.Write(out)
	}
	return all.String(), nil
}
