package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"torrente/natpmp"
	"torrente/node"
)

// secretFile is what shows routers that a mapping is this folder's: who was killed
// takes over what it had.
const secretFile = "portmap.key"

const secretBytes = 32

// protocols are those by which the router is asked; off: it is not.
func (a *address) protocols() (p natpmp.Protocols, off bool, err error) {
	if a.portmap == "off" {
		return 0, true, nil
	}
	p, err = natpmp.ParseProtocols(cmp.Or(a.portmap, "auto"))
	if err != nil {
		return 0, false, usageError{fmt.Errorf("--portmap %.20q is none of auto, pcp, natpmp, upnp, off", a.portmap)}
	}
	return p, false, nil
}

// mapper makes what asks the router for a port on which we listen. It is nil if that
// is off, or nobody outside can reach where we listen.
func (a *address) mapper(h home, port uint16, log *slog.Logger) (*natpmp.Mapper, error) {
	p, off, err := a.protocols()
	if err != nil || off {
		return nil, err
	}
	local, _ := netip.ParseAddr(a.bind) // invalid: all addresses
	if local.IsLoopback() {
		return nil, nil
	}
	secret, err := h.secret()
	if err != nil {
		return nil, err
	}
	c := natpmp.Config{Port: port, Protocols: p, Secret: secret, Log: log}
	if local.IsValid() && !local.IsUnspecified() {
		c.Gateways = func() (natpmp.Gateways, error) { return gatewaysOf(local) }
	}
	return natpmp.New(c), nil
}

// gatewaysOf are the routers of the links on which an address of ours is.
func gatewaysOf(local netip.Addr) (natpmp.Gateways, error) {
	g, err := natpmp.SystemGateways()
	for _, one := range []*natpmp.Gateway{&g.IPv4, &g.IPv6} {
		if !slices.Contains(one.Local, local) {
			*one = natpmp.Gateway{}
			continue
		}
		one.Local = []netip.Addr{local}
	}
	return g, err
}

// secret reads the folder's secret for routers, or makes one.
func (h home) secret() ([]byte, error) {
	b, err := os.ReadFile(h.path(secretFile))
	switch {
	case err == nil && len(b) == secretBytes:
		return b, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, unusable(err)
	}
	b = make([]byte, secretBytes)
	rand.Read(b)
	if err := renameio.WriteFile(h.path(secretFile), b, 0o600); err != nil {
		return nil, unusable(err)
	}
	return b, nil
}

// mapping keeps a node's port open on the router.
type mapping struct {
	mapper *natpmp.Mapper
	end    context.CancelFunc
	tasks  sync.WaitGroup
}

// startMapping asks the router, and tells the node by which port others reach it, and
// the user what came of it.
func startMapping(m *natpmp.Mapper, n *node.Node, out io.Writer) *mapping {
	ctx, end := context.WithCancel(context.Background())
	k := &mapping{mapper: m, end: end}
	k.tasks.Go(func() { m.Run(ctx) })
	k.tasks.Go(func() {
		t := teller{place: whereabouts{port: m.Status().Port}}
		for again := make(<-chan time.Time); ; {
			select {
			case <-ctx.Done():
				return
			case <-m.Changed():
			case <-again:
			}
			if ctx.Err() != nil {
				return // what is mapped is being given back
			}
			s := m.Status()
			moved, news, wait := t.tell(time.Now(), &s)
			if moved {
				n.Moved(t.place.port)
			}
			if news {
				fmt.Fprintln(out, printable(s.Sentence()))
			}
			again = time.After(wait)
		}
	})
	return k
}

// tellPause is how often trackers and the user are told at most, whatever the router
// does.
const tellPause = time.Minute

// teller decides what is told of a router.
type teller struct {
	place   whereabouts
	moved   bool // which the trackers have not heard
	movedAt time.Time
	said    string
	saidAt  time.Time
}

// tell takes a status, and says what is to be told now, and after what time it is to be
// asked again.
func (t *teller) tell(now time.Time, s *natpmp.Status) (moved, news bool, wait time.Duration) {
	t.moved = t.place.move(s) || t.moved
	if t.moved && now.Sub(t.movedAt) >= tellPause {
		t.moved, t.movedAt, moved = false, now, true
	}
	if r := reachability(*s); r != "" && r != t.said && now.Sub(t.saidAt) >= tellPause {
		t.said, t.saidAt, news = r, now, true
	}
	return moved, news, tellPause
}

// whereabouts is where trackers believe that others reach us. They see the address
// themselves, if it is the same for all.
type whereabouts struct {
	address netip.Addr // invalid: not known yet
	port    uint16
}

// move takes a status, and reports whether trackers should hear of it.
func (w *whereabouts) move(s *natpmp.Status) bool {
	before := *w
	w.port = s.External(natpmp.TCP)
	if s.IPv4.External.IsValid() {
		w.address = s.IPv4.External
	}
	return w.port != before.port || before.address.IsValid() && w.address != before.address
}

// reachability is what of a status is worth another sentence; "" while it is not known.
func reachability(s natpmp.Status) string {
	if s.IPv4.State == natpmp.Asking || s.IPv6.State == natpmp.Asking || s.IPv4.State == natpmp.Ended {
		return ""
	}
	said := fmt.Sprint(s.IPv4.State, s.IPv4.Translation, s.IPv6.State)
	for _, l := range []*natpmp.LinkStatus{&s.IPv4, &s.IPv6} {
		for _, m := range l.Mappings {
			said += fmt.Sprint(" ", m.Transport, m.External, m.ExternalPort)
		}
	}
	return said
}

// close gives back what is mapped, within two seconds.
func (k *mapping) close() {
	k.end()
	k.tasks.Wait()
}
