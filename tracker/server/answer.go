package server

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"torrente/bencode"
)

var errNoAddress = errors.New("your connection has no internet address")

// answer is what an announce is told.
type answer struct {
	cfg      *Config
	to       netip.Addr
	request  *announce
	seeds    int
	leechers int
	peers    []*peer
}

func (a *answer) encode() ([]byte, error) {
	d := map[string]any{
		"interval": wholeSeconds(a.interval()), "min interval": wholeSeconds(a.cfg.MinInterval),
		"complete": a.seeds, "incomplete": a.leechers,
		"external ip": a.to.AsSlice(), // BEP 24
	}
	if a.request.compact {
		d["peers"], d["peers6"] = compact(a.peers)
	} else {
		d["peers"] = dictionaries(a.peers, a.request.noPeerID)
	}
	return bencode.Encode(d)
}

// perPeer is how much of the interval a peer of a swarm adds.
const perPeer = 15 * time.Second

// interval is shorter in small swarms, which costs the tracker little: a seed that
// nobody can connect to learns at its next announce whom it can connect to itself.
func (a *answer) interval() time.Duration {
	return min(a.cfg.Interval, max(a.cfg.MinInterval, perPeer*time.Duration(a.seeds+a.leechers)))
}

// wholeSeconds rounds up: a tracker with a short interval must not say 0.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// compact is 6 bytes a peer (BEP 23), and 18 for those with IPv6 (BEP 7).
func compact(peers []*peer) (v4, v6 []byte) {
	for _, p := range peers {
		to := &v4
		if !p.addr.Addr().Is4() {
			to = &v6
		}
		*to = append(*to, p.addr.Addr().AsSlice()...)
		*to = binary.BigEndian.AppendUint16(*to, p.addr.Port())
	}
	return v4, v6
}

// dictionaries is the long form (BEP 3).
func dictionaries(peers []*peer, noID bool) []any {
	out := make([]any, 0, len(peers))
	for _, p := range peers {
		d := map[string]any{"ip": p.addr.Addr().String(), "port": int(p.addr.Port())}
		if !noID {
			d["peer id"] = p.id[:]
		}
		out = append(out, d)
	}
	return out
}

func encodeScrape(files map[string]any) ([]byte, error) {
	return bencode.Encode(map[string]any{"files": files})
}

// failure is the body of an announce or scrape that is declined (BEP 3). What
// may change is worth another try when the first peers have expired (BEP 31).
func (s *Server) failure(reason error) []byte {
	d := map[string]any{"failure reason": reason.Error()}
	if errors.Is(reason, errTorrents) {
		d["retry in"] = int64((s.cfg.Interval + time.Minute - 1) / time.Minute)
	}
	b, err := bencode.Encode(d)
	if err != nil {
		panic(err) // a string and a number are always encoded
	}
	return b
}
