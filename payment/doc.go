// Package payment is the hash-chain micropayment between two nodes: accounts,
// chains of links, signed commitments and closes, and the book of who may be
// served on credit.
//
// A buyer makes a Chain of n links, signs a Commitment to its root, and pays
// one unit more each time it reveals the next link; the seller checks a link
// with one hash (Verify) and redeems the deepest one on the ledger. A Book
// decides how much the seller lends an account, and how much the buyer prepays.
//
// The package only computes. It does not know the ledger's rules
// (payment/contract), keeps nothing on disk (payment/wallet), sends nothing and
// reads no clock. All integers on the wire are big endian; money is a whole
// number of the ledger's smallest coin. The formats are in docs/ledger.md, with
// golden vectors in testdata that another implementation can run.
package payment
