package tracker

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Event says why an announce is made (BEP 3). The numbers are those of BEP 15.
type Event uint32

// The events. None is a regular announce.
const (
	None Event = iota
	Completed
	Started
	Stopped
)

func (e Event) String() string {
	switch e {
	case Completed:
		return "completed"
	case Started:
		return "started"
	case Stopped:
		return "stopped"
	}
	return ""
}

// Announce is what a tracker is told (BEP 3).
type Announce struct {
	InfoHash   [20]byte // a v2 info-hash is cut to 20 bytes (BEP 52)
	PeerID     [20]byte
	Port       uint16 // on which we accept connections; never 0
	Uploaded   int64  // bytes since Started
	Downloaded int64  // bytes since Started
	Left       int64  // bytes still missing; negative: not known yet, as with a magnet link
	Event      Event
	NumWant    int    // peers wanted; negative: as many as the tracker likes
	Key        uint32 // by which the tracker knows us when our address changes
	TrackerID  string // of an earlier Answer
}

// Answer is what a tracker said. Only the peers are certain to be usable: ports
// are not 0, addresses are unicast, and none comes twice.
type Answer struct {
	Peers       []netip.AddrPort // at most MaxPeers
	Interval    time.Duration    // until the next announce; 0: not said
	MinInterval time.Duration    // before which another announce is unwelcome; 0: not said
	Seeders     int              // 0 when not said
	Leechers    int              // 0 when not said
	TrackerID   string           // to be sent with the next announce
	Warning     string           // for people: one line, printable
	ExternalIP  netip.Addr       // ours, as the tracker sees it (BEP 24); invalid: not said
	From        netip.Addr       // the tracker's; invalid on connections that are not of the internet
}

// MaxPeers is how many peers of one answer are used.
const MaxPeers = 500

// unknownLeft stands for what is left when nobody knows it: one block. Zero
// would make us a seed, and there is no word for "unknown" in BEP 3.
const unknownLeft = 16 << 10

// left is the number of bytes to tell.
func (a *Announce) left() int64 {
	if a.Left < 0 {
		return unknownLeft
	}
	return a.Left
}

// maxURL bounds tracker URLs, in bytes: servers refuse longer ones.
const maxURL = 2048

// parseURL takes a tracker's URL and refuses what cannot be announced to.
func parseURL(s string) (*url.URL, error) {
	if len(s) > maxURL {
		return nil, fmt.Errorf("a tracker's URL of %d bytes is too long: %d is the most", len(s), maxURL)
	}
	u, err := url.Parse(s)
	if err != nil {
		var pe *url.Error
		if errors.As(err, &pe) {
			err = pe.Err // the rest repeats the URL, passkeys included
		}
		return nil, fmt.Errorf("a tracker's URL is malformed: %s", printable(err.Error()))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "udp":
		return nil, fmt.Errorf("tracker %s: %s trackers are not supported, only http, https and udp", shown(u), printable(strconv.Quote(u.Scheme)))
	case u.Hostname() == "":
		return nil, fmt.Errorf("tracker %s: the URL names no host", shown(u))
	case u.Scheme == "udp" && u.Port() == "":
		return nil, fmt.Errorf("tracker %s: the URL of a UDP tracker needs a port", shown(u))
	}
	return u, nil
}

// withQuery is the tracker's URL with the announce's query behind its own: some
// carry a passkey there.
func (a *Announce) withQuery(u *url.URL) *url.URL {
	var q strings.Builder
	q.WriteString(u.RawQuery)
	add := func(key, value string) {
		if q.Len() > 0 {
			q.WriteByte('&')
		}
		q.WriteString(key + "=" + value)
	}
	add("info_hash", escape(a.InfoHash[:]))
	add("peer_id", escape(a.PeerID[:]))
	add("port", strconv.Itoa(int(a.Port)))
	add("uploaded", strconv.FormatInt(a.Uploaded, 10))
	add("downloaded", strconv.FormatInt(a.Downloaded, 10))
	add("left", strconv.FormatInt(a.left(), 10))
	add("compact", "1")    // BEP 23
	add("no_peer_id", "1") // for trackers that know only the long form
	add("key", fmt.Sprintf("%08x", a.Key))
	if a.NumWant >= 0 {
		add("numwant", strconv.Itoa(a.NumWant))
	}
	if a.Event != None {
		add("event", a.Event.String())
	}
	if a.TrackerID != "" {
		add("trackerid", escape([]byte(a.TrackerID)))
	}
	out := *u
	out.RawQuery, out.Fragment, out.RawFragment = q.String(), "", ""
	return &out
}

// escape writes every byte but RFC 3986's unreserved ones as %XX: some trackers
// take "+" for itself and others for a space, so there is none.
func escape(b []byte) string {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, 3*len(b))
	for _, c := range b {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}
