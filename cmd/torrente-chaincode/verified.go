package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"
)

// maxVerified is how many certificates are remembered at least, and half of how
// many at most.
const maxVerified = 4096

// verified remembers which certificates were found to be good: a member who calls
// often has the same one each time, and to verify it costs an endorser as much as
// all else that it computes for a call. What it answers follows from what is
// asked alone, so endorsers that remember and endorsers that do not come to the
// same.
type verified struct {
	mu             sync.Mutex // guards the following
	recent, before map[evidence]life
}

// evidence is SHA-256 of a chain of certificates and of the roots in which it ends.
type evidence [sha256.Size]byte

// life is a time, both ends included, in which each of those certificates is valid,
// or is not, as it was when the chain was verified: so the answer is the same.
type life struct{ from, until time.Time }

// within shortens a life to that part of a certificate's which at is in: before it,
// of it, or after it. Certificates know of seconds, and so does at.
func (l *life) within(c *x509.Certificate, at time.Time) {
	switch {
	case at.Before(c.NotBefore):
		l.end(c.NotBefore.Add(-time.Second))
	case at.After(c.NotAfter):
		l.begin(c.NotAfter.Add(time.Second))
	default:
		l.begin(c.NotBefore)
		l.end(c.NotAfter)
	}
}

func (l *life) begin(at time.Time) {
	if l.from.IsZero() || at.After(l.from) {
		l.from = at
	}
}

func (l *life) end(at time.Time) {
	if l.until.IsZero() || at.Before(l.until) {
		l.until = at
	}
}

// evidenceOf hashes each certificate, in DER, with its length before it.
func evidenceOf(chain, roots [][]byte) (e evidence) {
	h := sha256.New()
	for _, list := range [][][]byte{chain, roots} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(list))))
		for _, der := range list {
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(der))))
			h.Write(der)
		}
	}
	return evidence(h.Sum(nil))
}

// good reports whether a chain was remembered, and is valid at that time, too.
func (v *verified) good(e evidence, at time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, known := v.recent[e]
	if !known {
		if l, known = v.before[e]; known {
			v.keep(e, l)
		}
	}
	return known && !at.Before(l.from) && !at.After(l.until)
}

// remember notes a chain that was verified against these roots at a time.
func (v *verified) remember(e evidence, at time.Time, chain, roots [][]byte) {
	var l life
	for _, list := range [][][]byte{chain, roots} {
		for _, der := range list {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return // what cannot be read was not verified
			}
			l.within(c, at)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(e, l)
}

// keep adds to the recent ones, and forgets those before them when these are many.
// The lock is held.
func (v *verified) keep(e evidence, l life) {
	if _, again := v.recent[e]; !again && (v.recent == nil || len(v.recent) >= maxVerified) {
		v.recent, v.before = map[evidence]life{}, v.recent
	}
	v.recent[e] = l
}
