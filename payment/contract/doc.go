// Package contract is the ledger's rules: what each call does to the rows of a
// State, and to whom it says no.
//
// Apply executes one transaction. It reads and writes rows through an overlay
// that shows a transaction its own writes, whatever the backend does, and hands
// the writes to the backend only if the call succeeds. The same bytes of a
// transaction are executed by the embedded ledger, by chaincode on Hyperledger
// Fabric and in simulations: what a transaction writes depends only on its
// arguments, its creator and the rows it read (L8), never on a clock, on
// randomness or on the order of a map.
//
// Each row has one writer, and no writing call reads a range, so that receivers
// who redeem and payers who open do not stand in each other's way.
//
// The package does not order transactions, keeps nothing and trusts nobody: who
// calls Apply has verified the creator's certificate and signature. It refuses
// by Code, each a sentence for the user; an error means that the backend broke
// and nothing is decided. The formats, rows and invariants L1 to L10 are in
// docs/ledger.md.
package contract
