package natpmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
	"unicode"
)

var (
	// errSilent is what a gateway that doesn't answer leads to.
	errSilent = errors.New("no answer")
	// errClosed is what a gateway leads to on which nothing listens.
	errClosed = errors.New("nothing listens there")
	// errVersion is told by a gateway that speaks another version.
	errVersion = errors.New("the gateway speaks another version")
	// errLost says that the gateway no longer has a mapping that it granted.
	errLost = errors.New("the gateway has lost the mapping")
)

// refusal is a gateway's answer that grants nothing.
type refusal struct {
	protocol Protocol
	code     int
	name     string        // as the standard or, cleaned, the gateway has it
	retry    time.Duration // how long the gateway will say the same; zero: unknown
}

// Error returns what the gateway said.
func (r *refusal) Error() string { return fmt.Sprintf("refused by %s: %s", r.protocol, r.words()) }

func (r *refusal) words() string { return fmt.Sprintf("%s (%d)", r.name, r.code) }

// remedy says in words what may help; it is empty if nobody knows.
func (r *refusal) remedy() string {
	switch r.protocol {
	case PCP:
		return pcpRemedy(r.code)
	case NATPMP:
		return natpmpRemedy(r.code)
	}
	return upnpRemedy(r.code)
}

const (
	remedyBetween = "another router is between this machine and it; set up the one that faces the internet"
	remedyNetwork = "it says that it has no public address itself; connect it, or, if another router (or your provider's NAT) is in front of it, set up the forwarding in that one"
	remedyAllow   = `allow "UPnP", "NAT-PMP" or "PCP" for this machine in its settings`
	remedyTaken   = "another device has the port; remove that forwarding in its settings"
	remedyRoom    = "it has no room for more mappings, or no public address itself (another router in front of it); remove mappings in its settings, or restart it"
)

// remedies are in the order in which they help: routers that refuse by several
// protocols are more exact in some.
var remedies = []string{remedyBetween, remedyNetwork, remedyAllow, remedyTaken, remedyRoom, ""}

// unanswered turns the errors of sockets and of time into errSilent and
// errClosed.
func unanswered(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errClosed
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errSilent
	}
	return err
}

// absent tells whether err means that nobody answered.
func absent(err error) bool { return errors.Is(err, errSilent) || errors.Is(err, errClosed) }

// clean makes text of a gateway fit for people: one short line without
// anything that moves a cursor.
func clean(s string) string {
	const most = 80
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= most {
			break
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}
