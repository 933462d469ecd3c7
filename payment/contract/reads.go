package contract

// Reads names rows that a transaction reads for sure if it is executed, so that
// a State that is asked over a network can read them in one go. It may read
// others, too.
func Reads(creator Creator, tx *Transaction) []string {
	account := creator.Account()
	keys := admissionKeys(creator.MSP, account, tx)
	if a, ok := tx.Args.(*RedeemMany); ok {
		keys = append(keys, redeemKeys(a)...)
		keys = append(keys, keyCredit(account, tx.ID(account)))
	}
	return keys
}
