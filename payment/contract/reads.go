package contract

import (
	"encoding/hex"
	"strings"
)

// Reads names rows that a transaction reads for sure if it is executed, so that
// a State that is asked over a network can read them in one go. It may read
// others, too. TrustedRoots reads one of them.
func Reads(creator Creator, tx *Transaction) []string {
	account := creator.Account()
	keys := admissionKeys(creator.MSP, account, tx)
	switch a := tx.Args.(type) {
	case *RedeemMany:
		keys = append(keys, redeemKeys(a)...)
	case *Declare:
		keys = append(keys, declareKeys(account, a)...)
	}
	return keys
}

// Unwritten reports whether a row can be written by one transaction alone, and so
// is not there as long as that has done nothing. Who knows that it has not, as by
// a receipt that was read, need not read the row.
func Unwritten(key string, id TxID) bool {
	return strings.HasPrefix(key, "cr/") && strings.HasSuffix(key, "/"+hex.EncodeToString(id[:]))
}

// TrustedRoots returns the certificates in which those of an organisation's
// members end, in DER: what QueryRoots says of it, without what was removed, in
// one row. There are none if there is no such organisation.
func TrustedRoots(r Reader, msp string) ([][]byte, error) {
	if !validMSP(msp) {
		return nil, nil
	}
	var o organisation
	_, err := view{r}.read(keyOrganisation(msp), &o)
	return o.roots, err
}
