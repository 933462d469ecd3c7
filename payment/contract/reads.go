package contract

// Reads names rows that a transaction reads for sure if it is executed, so that
// a State that is asked over a network can read them in one go. It may read
// others, too. TrustedRoots of the creator's organisation is read by who admits
// the transaction.
func Reads(creator Creator, tx *Transaction) []string {
	account := creator.Account()
	keys := append(admissionKeys(creator.MSP, account, tx), keyTrust(creator.MSP))
	if a, ok := tx.Args.(*RedeemMany); ok {
		keys = append(keys, redeemKeys(a)...)
		keys = append(keys, keyCredit(account, tx.ID(account)))
	}
	return keys
}

// TrustedRoots returns the certificates in which those of an organisation's
// members end, in DER: what QueryRoots says of it, without what was removed, in
// one row. There are none if there is no such organisation.
func TrustedRoots(r Reader, msp string) ([][]byte, error) {
	if !validMSP(msp) {
		return nil, nil
	}
	var trusted certificates
	_, err := view{r}.read(keyTrust(msp), &trusted)
	return trusted, err
}
