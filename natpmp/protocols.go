package natpmp

import (
	"fmt"
	"strings"
)

// Protocol is one in which a gateway can be asked. The lower is the better one:
// PCP tells whether a mapping is ours and works for IPv6, UPnP is a web server
// that parses XML.
type Protocol uint8

// The protocols.
const (
	PCP Protocol = iota + 1
	NATPMP
	UPnP
)

var protocols = []Protocol{PCP, NATPMP, UPnP}

// String returns the name that people know.
func (p Protocol) String() string {
	switch p {
	case PCP:
		return "PCP"
	case NATPMP:
		return "NAT-PMP"
	case UPnP:
		return "UPnP"
	}
	return "none"
}

// MarshalText writes the name that ParseProtocols reads.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.word()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Protocol) UnmarshalText(b []byte) error {
	for _, q := range protocols {
		if string(b) == q.word() {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("%.20q is no protocol", b)
}

func (p Protocol) word() string {
	return strings.ToLower(strings.ReplaceAll(p.String(), "-", ""))
}

// Protocols is a set of them. The empty set stands for all.
type Protocols uint8

// Only returns the set of the given ones.
func Only(ps ...Protocol) Protocols {
	var set Protocols
	for _, p := range ps {
		set |= 1 << p
	}
	return set
}

// Has tells whether p is in the set.
func (s Protocols) Has(p Protocol) bool { return s == 0 || s&(1<<p) != 0 }

// String writes the set so that ParseProtocols reads it.
func (s Protocols) String() string {
	for _, p := range protocols {
		if s == Only(p) {
			return p.word()
		}
	}
	return "auto"
}

// ParseProtocols reads auto, pcp, natpmp or upnp.
func ParseProtocols(s string) (Protocols, error) {
	if s == "auto" {
		return 0, nil
	}
	for _, p := range protocols {
		if s == p.word() {
			return Only(p), nil
		}
	}
	return 0, fmt.Errorf("%.20q is none of auto, pcp, natpmp, upnp", s)
}
