package swarm

import (
	"fmt"
	"time"

	"torrente/bencode"
	"torrente/metainfo"
	"torrente/peerwire"
)

// The message types of ut_metadata (BEP 9).
const (
	metadataRequest = 0
	metadataData    = 1
	metadataReject  = 2
)

const (
	// metadataPiece is the length of a piece of the info dictionary (BEP 9).
	metadataPiece = 16 << 10
	// maxMetadata is the largest info dictionary that is fetched.
	maxMetadata = 30 << 20
	// metadataPatience is how long one peer may take for one piece.
	metadataPatience = 20 * time.Second
	// metadataRate is how many bytes a second a peer must give, after the first
	// metadataPatience: each piece could come just in time, for hours.
	metadataRate = 16 << 10
	// metadataTurn is how long a peer may take while another claims less: who
	// claims much may do so to keep others from being asked.
	metadataTurn = time.Minute
	// metadataRest is how long a peer is left alone that did not give it.
	metadataRest = time.Minute
	// maxMetadataAsked is how many pieces are asked of a peer at a time.
	maxMetadataAsked = 4
	// maxMetadataServed bounds what a peer may fetch of us: the dictionary a
	// few times over, then we are silent.
	maxMetadataServed = 4
)

// metadata fetches the info dictionary from one peer at a time. The memory for
// it grows with what has come, never with what was claimed; if the whole is
// not what the link asked for, that peer alone is to blame.
type metadata struct {
	from   *peer
	size   int64
	parts  [][]byte
	asked  int // pieces asked for so far
	begun  time.Time
	since  time.Time        // the last piece came
	served map[PeerID]int64 // bytes
}

// ask begins or goes on with the fetch, if the metadata is unknown.
func (m *metadata) ask(s *Swarm, now time.Time) {
	if s.info != nil {
		return
	}
	if m.from == nil {
		m.choose(s, now)
	}
	if m.from == nil {
		return
	}
	pieces := int((m.size + metadataPiece - 1) / metadataPiece)
	for m.asked < pieces && m.asked < len(m.parts)+maxMetadataAsked {
		s.sendMetadata(now, m.from, map[string]any{"msg_type": metadataRequest, "piece": m.asked}, nil)
		m.asked++
	}
}

// choose begins with the peer that claims least: if it lies it is found out
// soonest.
func (m *metadata) choose(s *Swarm, now time.Time) {
	if p := m.best(s, now); p != nil {
		m.from, m.size, m.begun, m.since, m.parts, m.asked = p, p.ext.metadataSize, now, now, nil, 0
	}
}

func (m *metadata) best(s *Swarm, now time.Time) (best *peer) {
	for _, p := range s.order {
		e := &p.ext
		if p.dropped || e.metadata == 0 || e.metadataSize <= 0 || e.metadataSize > maxMetadata || now.Before(e.noMetadata) {
			continue
		}
		if best == nil || e.metadataSize < best.ext.metadataSize {
			best = p
		}
	}
	return best
}

// tooSlow reports whether the peer that is asked should give way to others.
func (m *metadata) tooSlow(s *Swarm, now time.Time) bool {
	took := now.Sub(m.begun)
	due := int64((took - metadataPatience).Seconds() * metadataRate)
	if now.Sub(m.since) > metadataPatience || int64(len(m.parts))*metadataPiece < due {
		return true
	}
	best := m.best(s, now)
	return took > metadataTurn && best != nil && best.ext.metadataSize < m.size
}

// giveUp lets go of a peer; its pieces are forgotten.
func (m *metadata) giveUp(p *peer) {
	if m.from == p {
		m.from, m.parts, m.asked = nil, nil, 0
	}
	delete(m.served, p.id)
}

// advance gives up on a peer that answers too slowly.
func (m *metadata) advance(s *Swarm, now time.Time) {
	if s.info == nil && m.from != nil && m.tooSlow(s, now) {
		m.from.ext.noMetadata = now.Add(metadataRest)
		m.giveUp(m.from)
	}
	m.ask(s, now)
}

func (s *Swarm) onMetadata(now time.Time, p *peer, b []byte) error {
	v, rest, err := bencode.ParsePrefix(b, bencode.Extended)
	if err != nil {
		return fmt.Errorf("%w: ut_metadata: %w", errBadMessage, err)
	}
	d, err := v.Dict()
	if err != nil {
		return fmt.Errorf("%w: ut_metadata: %w", errBadMessage, err)
	}
	kind, err1 := d.Int("msg_type")
	index, err2 := d.Int("piece")
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%w: ut_metadata without msg_type or piece", errBadMessage)
	}
	switch kind {
	case metadataRequest:
		return s.enqueue(now, p, reply{metadata: index})
	case metadataData:
		return s.meta.take(s, now, p, index, rest)
	case metadataReject:
		p.ext.noMetadata = now.Add(metadataRest)
		s.meta.giveUp(p)
		s.meta.ask(s, now)
	}
	return nil // BEP 9: unknown types are ignored
}

// serveMetadata answers a request for a piece of the info dictionary.
func (s *Swarm) serveMetadata(now time.Time, p *peer, index int64) {
	if p.ext.metadata == 0 {
		return
	}
	if s.info == nil || index < 0 || index > maxMetadata/metadataPiece || index*metadataPiece >= int64(len(s.info.Raw)) ||
		s.meta.served[p.id] > maxMetadataServed*int64(len(s.info.Raw)) {
		s.sendMetadata(now, p, map[string]any{"msg_type": metadataReject, "piece": index}, nil)
		return
	}
	part := s.info.Raw[index*metadataPiece:]
	part = part[:min(len(part), metadataPiece)]
	if s.meta.served == nil {
		s.meta.served = map[PeerID]int64{}
	}
	s.meta.served[p.id] += int64(len(part))
	s.sendMetadata(now, p, map[string]any{
		"msg_type": metadataData, "piece": index, "total_size": len(s.info.Raw),
	}, part)
}

func (s *Swarm) sendMetadata(now time.Time, p *peer, d map[string]any, data []byte) {
	b, err := bencode.Encode(d)
	if err != nil {
		panic(err) // of our own making
	}
	s.send(now, p, peerwire.ExtendedMessage(p.ext.metadata, append(b, data...)))
}

// take adds a piece. They come in order: they were asked for in order.
func (m *metadata) take(s *Swarm, now time.Time, p *peer, index int64, data []byte) error {
	if s.info != nil || p != m.from || index != int64(len(m.parts)) || int(index) >= m.asked {
		return nil // late, or not asked for
	}
	want := min(metadataPiece, m.size-index*metadataPiece)
	if int64(len(data)) != want {
		return fmt.Errorf("%w: piece %d of the metadata has %d bytes, not %d", errBadMessage, index, len(data), want)
	}
	m.parts = append(m.parts, data)
	m.since = now
	if int64(len(m.parts))*metadataPiece < m.size {
		m.ask(s, now)
		return nil
	}
	return m.finish(s, now, p)
}

// finish proves the whole before anything else reads it.
func (m *metadata) finish(s *Swarm, now time.Time, p *peer) error {
	raw := make([]byte, 0, m.size)
	for _, part := range m.parts {
		raw = append(raw, part...)
	}
	m.giveUp(p)
	p.ext.noMetadata = now.Add(metadataRest)
	if !s.cfg.Proves(raw) {
		s.book.ban(p.about.Addr.Addr())
		m.ask(s, now)
		return fmt.Errorf("%w: metadata of another torrent", errFalseData)
	}
	info, err := metainfo.ParseInfo(raw)
	if err != nil {
		s.stop(fmt.Errorf("the torrent is not usable: %w", err)) // its own hash says so: no peer can give a better one
		return nil
	}
	s.adopt(info)
	s.out.Metadata = info
	return nil
}
