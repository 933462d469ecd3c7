package metainfo

import (
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxMagnet is the most bytes of a link that are looked at.
const maxMagnet = 64 << 10

// Magnet is a magnet link (BEP 9, BEP 53's x.pe aside from its file list): what
// names a torrent without its info dictionary. At least one hash is there.
type Magnet struct {
	V1       *[20]byte
	V2       *[32]byte
	Name     string   // what to show until the metadata is there; UTF-8, made by a stranger
	Trackers []string // each once
	Peers    []string // host:port, the host an IP address or a name
	WebSeeds []string
}

// v2Multihash says of a hash that it is SHA-256 and 32 bytes long (BEP 52 takes
// it from the multihash format).
const v2Multihash = "1220"

// ParseMagnet reads a magnet link. Numbered keys (xt.1, tr.2) are read as if
// they were not; trackers, peers and web seeds that cannot be used are ignored.
func ParseMagnet(s string) (*Magnet, error) {
	const scheme = "magnet:?"
	s = strings.TrimSpace(s)
	switch {
	case len(s) > maxMagnet:
		return nil, refusef("magnet link: %d bytes, %d is the most allowed", len(s), maxMagnet)
	case len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme):
		return nil, refusef("magnet link: it does not begin with %q", scheme)
	}
	var r magnetReader
	for part := range strings.SplitSeq(s[len(scheme):], "&") {
		key, value, err := parameter(part)
		if err != nil {
			return nil, refusef("magnet link: %.80q is not escaped properly", part)
		}
		if err := r.take(key, value); err != nil {
			return nil, refusef("magnet link: %w", err)
		}
	}
	m := &r.Magnet
	m.Trackers, m.WebSeeds, m.Peers = r.trackers.seen, r.seeds.seen, r.peers.seen
	if m.V1 == nil && m.V2 == nil {
		return nil, refusef("magnet link: it has no BitTorrent hash (xt=urn:btih:... or xt=urn:btmh:...)")
	}
	return m, nil
}

// magnetReader collects what a link says, in whatever order.
type magnetReader struct {
	Magnet
	trackers, seeds, peers urls
}

// take takes a parameter. Only a topic can make it fail: without the right hash
// the link is worthless, without the rest it is just slower.
func (r *magnetReader) take(key, value string) error {
	switch key {
	case "xt":
		return r.topic(value)
	case "dn":
		if r.Name == "" {
			r.Name = strings.ToValidUTF8(value, "_")
		}
	case "tr":
		r.trackers.add(value)
	case "ws":
		r.seeds.add(value)
	case "x.pe":
		if validPeer(value) {
			r.peers.add(value)
		}
	}
	return nil
}

// parameter splits and unescapes key=value, and drops the key's number.
func parameter(part string) (key, value string, err error) {
	key, value, _ = strings.Cut(part, "=")
	if value, err = url.QueryUnescape(value); err != nil {
		return "", "", err
	}
	if base, number, ok := strings.Cut(key, "."); ok {
		if _, err := strconv.ParseUint(number, 10, 16); err == nil {
			key = base
		}
	}
	return key, value, nil
}

// topic takes an exact topic. Those of other networks are ignored.
func (m *Magnet) topic(s string) error {
	const v1, v2 = "urn:btih:", "urn:btmh:"
	switch {
	case len(s) >= len(v1) && strings.EqualFold(s[:len(v1)], v1):
		h, ok := hashV1(s[len(v1):])
		if !ok {
			return fmt.Errorf("%.80q is no v1 hash: 40 hexadecimal or 32 base32 digits", s)
		}
		if m.V1 != nil && *m.V1 != h {
			return errors.New("two different v1 hashes")
		}
		m.V1 = &h
	case len(s) >= len(v2) && strings.EqualFold(s[:len(v2)], v2):
		b, err := hex.DecodeString(s[len(v2):])
		if err != nil || len(b) != 34 || hex.EncodeToString(b[:2]) != v2Multihash {
			return fmt.Errorf("%.80q is no v2 hash: %s and 64 hexadecimal digits", s, v2Multihash)
		}
		h := [32]byte(b[2:])
		if m.V2 != nil && *m.V2 != h {
			return errors.New("two different v2 hashes")
		}
		m.V2 = &h
	}
	return nil
}

// hashV1 decodes either spelling of a v1 hash.
func hashV1(s string) (h [20]byte, ok bool) {
	var b []byte
	var err error
	switch len(s) {
	case 40:
		b, err = hex.DecodeString(s)
	case 32: // as old programs wrote it (BEP 9)
		b, err = base32.StdEncoding.DecodeString(strings.ToUpper(s))
	}
	if err != nil || len(b) != len(h) {
		return h, false
	}
	return [20]byte(b), true
}

// validPeer wants an address and a port that is not 0.
func validPeer(s string) bool {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Port() != 0
	}
	host, port, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	return ok && err == nil && n != 0 && host != "" && len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return r >= utf8.RuneSelf || r != '-' && r != '.' && r != '_' && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
	})
}

// String is the link, which ParseMagnet reads back as the same.
func (m *Magnet) String() string {
	b := []byte("magnet:?")
	if m.V1 != nil {
		b = fmt.Appendf(b, "xt=urn:btih:%x&", *m.V1)
	}
	if m.V2 != nil {
		b = fmt.Appendf(b, "xt=urn:btmh:%s%x&", v2Multihash, *m.V2)
	}
	add := func(key string, values ...string) {
		for _, v := range values {
			b = fmt.Appendf(b, "%s=%s&", key, strings.ReplaceAll(url.QueryEscape(v), "+", "%20"))
		}
	}
	if m.Name != "" {
		add("dn", m.Name)
	}
	add("tr", m.Trackers...)
	add("ws", m.WebSeeds...)
	add("x.pe", m.Peers...)
	return string(b[:len(b)-1])
}

// Matches tells whether the info dictionary is the one that the link names: by
// every hash the link has.
func (m *Magnet) Matches(i *Info) bool {
	if m.V1 != nil && (!i.HasV1 || i.HashV1() != *m.V1) {
		return false
	}
	if m.V2 != nil && (!i.HasV2 || i.HashV2() != *m.V2) {
		return false
	}
	return m.V1 != nil || m.V2 != nil
}

// Magnet is the link that names the torrent.
func (t *Torrent) Magnet() *Magnet {
	m := &Magnet{Name: t.Info.Name, WebSeeds: t.WebSeeds}
	if t.Info.HasV1 {
		h := t.Info.HashV1()
		m.V1 = &h
	}
	if t.Info.HasV2 {
		h := t.Info.HashV2()
		m.V2 = &h
	}
	for _, tier := range t.Trackers {
		m.Trackers = append(m.Trackers, tier...)
	}
	return m
}
