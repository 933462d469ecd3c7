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

// validRoot reports whether the certificate is an authority's.
func validRoot(der []byte) bool {
	c, err := x509.ParseCertificate(der)
	return err == nil && len(der) <= maxRootBytes && c.BasicConstraintsValid && c.IsCA
}

// revoke stops an account from freezing, opening and transferring (L10). The
// key is given whole, so that the row also names it as certificates are
// revoked between nodes.
func (r *run) revoke() Code {
	a := r.tx.Args.(*Revoke)
	account := payment.AccountOf(a.MSP, a.SPKI)
	var org organisation
	if !r.read(keyOrganisation(a.MSP), &org) {
		return UnknownMember
	}
	switch {
	case org.administrator == account:
		return ToOneself // or nobody could reinstate it
	case r.has(keyRevoked(account)):
		return Already
	}
	r.put(keyRevoked(account), digest(sha256.Sum256(a.SPKI)))
	r.emit(payment.LedgerEvent{Kind: payment.EventRevoked, Account: account})
	return OK
}

func (r *run) reinstate() Code {
	a := r.tx.Args.(*Reinstate)
	if !r.has(keyRevoked(a.Account)) {
		return NotRevoked
	}
	r.delete(keyRevoked(a.Account))
	r.emit(payment.LedgerEvent{Kind: payment.EventReinstated, Account: a.Account})
	return OK
}

func (r *run) addRoot() Code {
	a := r.tx.Args.(*AddRoot)
	var org organisation
	if !r.read(keyOrganisation(a.MSP), &org) {
		return UnknownMember
	}
	if !validRoot(a.Certificate) {
		return BadRoot
	}
	key := keyCA(a.MSP, sha256.Sum256(a.Certificate))
	var before authority
	if r.read(key, &before) && before.trusted {
		return Already
	}
	if org.roots == maxRoots {
		return BadArguments
	}
	r.setRoot(a.MSP, key, org.administrator, org.roots+1, authority{true, a.Certificate})
	return OK
}

func (r *run) removeRoot() Code {
	a := r.tx.Args.(*RemoveRoot)
	var org organisation
	if !r.read(keyOrganisation(a.MSP), &org) {
		return UnknownMember
	}
	key := keyCA(a.MSP, a.Fingerprint)
	var before authority
	switch {
	case !r.read(key, &before):
		return NoRoot
	case !before.trusted:
		return Already
	case org.roots <= 1:
		return LastRoot
	}
	r.setRoot(a.MSP, key, org.administrator, org.roots-1, authority{false, before.certificate})
	return OK
}

// setRoot keeps removed roots, so that their members are told why.
func (r *run) setRoot(msp, key string, administrator payment.Account, roots uint16, a authority) {
	r.put(key, a)
	r.put(keyOrganisation(msp), organisation{administrator, roots})
	r.emit(payment.LedgerEvent{Kind: payment.EventRoots})
}
