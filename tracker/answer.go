package tracker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"torrente/bencode"
)

// limits are those of all trackers' answers, but for the order of keys: some
// trackers write their dictionaries in the order they think of things.
var limits = func() bencode.Limits {
	l := bencode.Tracker
	l.Unsorted = true
	return l
}()

// Lengths in bytes of a peer in compact form (BEP 23, BEP 7).
const (
	compact4 = 6
	compact6 = 18
)

// maxInterval bounds what a tracker may say about time, so that no sum of times
// can wrap.
const maxInterval = 7 * 24 * time.Hour

// parseAnswer reads a body. What a tracker may leave out, or got wrong without
// harm, is as if it were not there; a failure reason makes a *Refused without
// its Tracker.
func parseAnswer(body []byte) (Answer, error) {
	v, _, err := bencode.ParsePrefix(body, limits) // a newline follows in some
	if err != nil {
		return Answer{}, err
	}
	d, err := v.Dict()
	if err != nil {
		return Answer{}, fmt.Errorf("the answer %w", err)
	}
	if r := refusal(d); r != nil {
		return Answer{}, r
	}
	a := Answer{
		Interval: seconds(d, "interval"), MinInterval: seconds(d, "min interval"),
		Seeders: count(d, "complete"), Leechers: count(d, "incomplete"),
	}
	// Long ids would come back to the tracker as a query it refuses.
	if id, err := d.Text("tracker id"); err == nil && len(id) <= maxShown {
		a.TrackerID = id
	}
	if w, err := d.Text("warning message"); err == nil {
		a.Warning = printable(w)
	}
	if ip, err := d.Bytes("external ip"); err == nil {
		a.ExternalIP = fromSlice(ip)
	}
	var ps peers
	if err := errors.Join(ps.field(d.Get("peers"), compact4), ps.field(d.Get("peers6"), compact6)); err != nil {
		return Answer{}, err
	}
	a.Peers = ps.list
	return a, nil
}

// refusal is the failure reason of an answer, or nil.
func refusal(d bencode.Dict) *Refused {
	reason, err := d.Text("failure reason")
	if err != nil {
		return nil
	}
	r := &Refused{Reason: printable(reason)}
	if r.Reason == "" {
		r.Reason = "it gives no reason"
	}
	// BEP 31: minutes, or the word "never".
	retry := d.Get("retry in")
	if n, err := retry.Int(); err == nil && n > 0 {
		r.RetryIn = duration(n, time.Minute)
	}
	word, err := retry.Text()
	r.Never = err == nil && word == "never"
	return r
}

func seconds(d bencode.Dict, key string) time.Duration {
	n, err := d.Int(key)
	if err != nil || n < 0 {
		return 0
	}
	return duration(n, time.Second)
}

// duration is n units, at most maxInterval, without overflow.
func duration(n int64, unit time.Duration) time.Duration {
	return time.Duration(min(n, int64(maxInterval/unit))) * unit
}

func count(d bencode.Dict, key string) int {
	n, err := d.Int(key)
	if err != nil || n < 0 {
		return 0
	}
	return int(min(n, math.MaxInt32))
}

// fromSlice is an address of 4 or 16 bytes, or the invalid one.
func fromSlice(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}

// peers gathers the usable peers of one answer.
type peers struct {
	list []netip.AddrPort
	seen map[netip.AddrPort]bool
}

// add takes a peer unless it cannot be dialled, was there before, or is one too
// many.
func (p *peers) add(a netip.Addr, port uint16) {
	ap := netip.AddrPortFrom(a.Unmap(), port)
	if len(p.list) >= MaxPeers || port == 0 || scopeOf(a) == nowhere || p.seen[ap] {
		return
	}
	if p.seen == nil {
		p.seen = map[netip.AddrPort]bool{}
	}
	p.seen[ap] = true
	p.list = append(p.list, ap)
}

// field takes "peers" or "peers6", in compact form or as dictionaries.
func (p *peers) field(v bencode.Value, size int) error {
	switch v.Kind() {
	case bencode.String:
		b, _ := v.Bytes()
		if len(b)%size != 0 {
			return fmt.Errorf("%d bytes of peers are not a multiple of %d", len(b), size)
		}
		p.compact(b, size)
	case bencode.List:
		p.dictionaries(v)
	}
	return nil
}

// compact takes peers of size bytes each; what remains at the end is ignored.
func (p *peers) compact(b []byte, size int) {
	for ; len(b) >= size && len(p.list) < MaxPeers; b = b[size:] {
		p.add(fromSlice(b[:size-2]), binary.BigEndian.Uint16(b[size-2:]))
	}
}

// dictionaries takes the long form (BEP 3). A name instead of an address is
// ignored: a stranger does not choose what we resolve.
func (p *peers) dictionaries(v bencode.Value) {
	var d bencode.Dict
	for e := range v.Elements() {
		if len(p.list) >= MaxPeers {
			return
		}
		if d.Index(e) != nil {
			continue
		}
		ip, err := d.Text("ip")
		port, errPort := d.Int("port")
		if err != nil || errPort != nil || port < 1 || port > math.MaxUint16 {
			continue
		}
		if a, err := netip.ParseAddr(ip); err == nil {
			p.add(a.WithZone(""), uint16(port))
		}
	}
}
