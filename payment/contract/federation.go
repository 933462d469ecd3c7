package contract

import (
	"crypto/sha256"
	"crypto/x509"
	"strings"

	"torrente/payment"
)

// validMSP accepts the ids that identity gives out: they are parts of keys.
func validMSP(msp string) bool {
	odd := func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	}
	return msp != "" && len(msp) <= maxMSPBytes && !strings.ContainsFunc(msp, odd)
}

// bytesOf is how long certificates are together.
func bytesOf(all [][]byte) (n int) {
	for _, der := range all {
		n += len(der)
	}
	return n
}

// validRoot reports whether the certificate is an authority's.
func validRoot(der []byte) bool {
	c, err := x509.ParseCertificate(der)
	return err == nil && len(der) <= maxRootBytes && c.BasicConstraintsValid && c.IsCA
}

// revoke and what follows are an administrator's own affairs: the keys and the
// roots of its organisation. Those of another one are for a majority to decide,
// where that may be decided at all.
func (r *run) revoke() Code {
	a := r.tx.Args.(*Revoke)
	if code := r.ownOrganisation(a.MSP, nil); code != OK {
		return code
	}
	return r.revokeKey(a.MSP, a.SPKI, false)
}

func (r *run) reinstate() Code {
	return r.reinstateKey(r.tx.Args.(*Reinstate).Account, false)
}

// ownOrganisation reads an organisation that must be the creator's.
func (r *run) ownOrganisation(msp string, org *organisation) Code {
	var read organisation
	if !r.read(keyOrganisation(msp), &read) {
		return UnknownMember
	}
	if msp != r.msp {
		return NoMajority
	}
	if org != nil {
		*org = read
	}
	return OK
}

func (r *run) addRoot() Code {
	a := r.tx.Args.(*AddRoot)
	var org organisation
	if code := r.ownOrganisation(a.MSP, &org); code != OK {
		return code
	}
	if !validRoot(a.Certificate) {
		return BadRoot
	}
	key := keyCA(a.MSP, sha256.Sum256(a.Certificate))
	var before authority
	known := r.read(key, &before)
	if known && before.trusted {
		return Already
	}
	if len(org.roots) == maxRoots || bytesOf(org.roots)+len(a.Certificate) > maxTrusted {
		return ManyRoots
	}
	if !known { // it stays for good
		var had pile
		r.read(keyPile(a.MSP), &had)
		if had.roots >= maxRootsEver {
			return ManyRoots
		}
		had.roots++
		r.put(keyPile(a.MSP), had)
	}
	org.trust(a.Certificate)
	r.setRoot(a.MSP, key, org, authority{true, a.Certificate})
	return OK
}

func (r *run) removeRoot() Code {
	a := r.tx.Args.(*RemoveRoot)
	var org organisation
	if code := r.ownOrganisation(a.MSP, &org); code != OK {
		return code
	}
	key := keyCA(a.MSP, a.Fingerprint)
	var before authority
	switch {
	case !r.read(key, &before):
		return NoRoot
	case !before.trusted:
		return Already
	case len(org.roots) <= 1:
		return LastRoot
	}
	org.distrust(before.certificate)
	r.setRoot(a.MSP, key, org, authority{false, before.certificate})
	return OK
}

// setRoot keeps removed roots, so that their members are told why.
func (r *run) setRoot(msp, key string, org organisation, a authority) {
	r.put(key, a)
	r.put(keyOrganisation(msp), org)
	r.emit(payment.LedgerEvent{Kind: payment.EventRoots})
}
