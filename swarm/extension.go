package swarm

import (
	"fmt"
	"net/netip"
	"time"

	"torrente/bencode"
	"torrente/peerwire"
)

// The extension ids that we choose: peers send with them (BEP 10). 0 is the
// handshake itself.
const (
	extHandshake = 0
	extMetadata  = 1
)

// extensions is what a peer's extended handshake said.
type extensions struct {
	metadata     uint8 // its id for ut_metadata; 0: not spoken
	metadataSize int64 // of the info dictionary, as it claims
	reqq         int   // requests that it queues
	client       string
	noMetadata   time.Time // until when it is not asked: it rejected or was late
}

// maxClientName bounds the name that a peer gives itself.
const maxClientName = 64

// Listens tells by which port others reach us, 0 if by none: who connects from now on
// hears it.
func (s *Swarm) Listens(port uint16) {
	s.input()
	s.cfg.Port = port
}

func (s *Swarm) extendedHandshake(p *peer) peerwire.Message {
	d := map[string]any{
		"m":    map[string]any{"ut_metadata": extMetadata},
		"reqq": ourReqq,
	}
	if s.cfg.Client != "" {
		d["v"] = s.cfg.Client
	}
	if s.cfg.Port != 0 {
		d["p"] = int(s.cfg.Port)
	}
	if ip := p.about.Addr.Addr().Unmap(); ip.IsValid() {
		d["yourip"] = string(ip.AsSlice())
	}
	if s.info != nil {
		d["metadata_size"] = len(s.info.Raw)
	}
	b, err := bencode.Encode(d)
	if err != nil {
		panic(err) // of our own making
	}
	return peerwire.ExtendedMessage(extHandshake, b)
}

func (s *Swarm) onExtended(now time.Time, p *peer, m *peerwire.Message) error {
	switch m.Index {
	case extHandshake:
		return s.onExtendedHandshake(now, p, m.Data)
	case extMetadata:
		return s.onMetadata(now, p, m.Data)
	}
	return nil // an extension that we did not offer: BEP 10 says to ignore it
}

func (s *Swarm) onExtendedHandshake(now time.Time, p *peer, b []byte) error {
	v, _, err := bencode.ParsePrefix(b, bencode.Extended)
	if err != nil {
		return fmt.Errorf("%w: extended handshake: %w", errBadMessage, err)
	}
	d, err := v.Dict()
	if err != nil {
		return fmt.Errorf("%w: extended handshake: %w", errBadMessage, err)
	}
	if m, err := d.Dict("m"); err == nil {
		if id, err := m.Int("ut_metadata"); err == nil && id >= 0 && id < 256 {
			p.ext.metadata = uint8(id)
		}
	}
	if n, err := d.Int("metadata_size"); err == nil {
		p.ext.metadataSize = n
	}
	if n, err := d.Int("reqq"); err == nil && n > 0 {
		p.ext.reqq = int(min(n, maxDepth))
	}
	if name, err := d.Bytes("v"); err == nil {
		p.ext.client = string(name[:min(len(name), maxClientName)])
	}
	if ip, err := d.Bytes("yourip"); err == nil {
		if ours, ok := netip.AddrFromSlice(ip); ok {
			s.out.Seen = append(s.out.Seen, Sighting{From: p.about.Addr.Addr().Unmap(), Ours: ours.Unmap()})
		}
	}
	s.meta.ask(s, now)
	return nil
}
