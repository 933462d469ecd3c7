package server

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Bounds on what a request may hold.
const (
	maxQuery  = 4096 // bytes
	maxHashes = 64   // of a scrape
)

// event is what a peer says happened (BEP 3). Other words, as BEP 21's
// "paused", are regular announces.
type event string

const (
	eventCompleted event = "completed"
	eventStopped   event = "stopped"
)

// announce is a parsed query, without what the server does not use.
type announce struct {
	infoHash [20]byte
	peerID   [20]byte
	port     uint16
	left     int64 // bytes; negative: not said
	event    event
	numWant  int // negative: not said
	compact  bool
	noPeerID bool
}

// pairs splits a query and calls f for each of its pairs, decoded.
func pairs(query string, f func(key, value string) error) error {
	if len(query) > maxQuery {
		return fmt.Errorf("the query is %d bytes long, %d is the most", len(query), maxQuery)
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			return fmt.Errorf("%.20q is not encoded as a query is", key)
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// parseAnnounce reads the query of an announce. Errors are sentences for the
// user of the peer.
func parseAnnounce(query string) (announce, error) {
	a := announce{left: -1, numWant: -1}
	seen := map[string]bool{}
	err := pairs(query, func(key, value string) error {
		set, known := fields[key]
		if !known {
			return nil // "ip" and "ipv6" among them: the connection tells the address
		}
		if seen[key] {
			return fmt.Errorf("%s comes twice", key)
		}
		seen[key] = true
		return set(&a, value)
	})
	if err != nil {
		return announce{}, err
	}
	for _, key := range required {
		if !seen[key] {
			return announce{}, fmt.Errorf("%s is missing", key)
		}
	}
	return a, nil
}

var required = []string{"info_hash", "peer_id", "port"}

// fields sets what each key stands for.
var fields = map[string]func(a *announce, value string) error{
	"info_hash": func(a *announce, v string) error { return twenty(&a.infoHash, "info_hash", v) },
	"peer_id":   func(a *announce, v string) error { return twenty(&a.peerID, "peer_id", v) },
	"port": func(a *announce, v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return errors.New("port must be a number from 1 to 65535: the one on which peers can reach you")
		}
		a.port = uint16(n)
		return nil
	},
	"left": func(a *announce, v string) (err error) {
		if a.left, err = strconv.ParseInt(v, 10, 64); err != nil || a.left < 0 {
			return errors.New("left must be the number of bytes that are missing")
		}
		return nil
	},
	"numwant": func(a *announce, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return errors.New("numwant must be a number")
		}
		a.numWant = int(max(-1, n)) // -1 is a usual way to leave it to the tracker
		return nil
	},
	"event":      func(a *announce, v string) error { a.event = event(v); return nil },
	"compact":    func(a *announce, v string) error { a.compact = v == "1"; return nil },
	"no_peer_id": func(a *announce, v string) error { a.noPeerID = v == "1"; return nil },
}

func twenty(to *[20]byte, key, v string) error {
	if len(v) != len(to) {
		return fmt.Errorf("%s must be 20 bytes, not %d", key, len(v))
	}
	copy(to[:], v)
	return nil
}

// parseScrape reads the info-hashes of a scrape (BEP 48).
func parseScrape(query string) (hashes [][20]byte, err error) {
	err = pairs(query, func(key, value string) error {
		if key != "info_hash" {
			return nil
		}
		if len(hashes) == maxHashes {
			return fmt.Errorf("more than %d info_hash in a scrape", maxHashes)
		}
		var h [20]byte
		if err := twenty(&h, key, value); err != nil {
			return err
		}
		hashes = append(hashes, h)
		return nil
	})
	if err == nil && len(hashes) == 0 {
		err = errors.New("info_hash is missing: this tracker does not list all its torrents")
	}
	return hashes, err
}
