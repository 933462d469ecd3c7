// Package ledger is where signed transactions become final: the Ledger
// interface, and the embedded ledger that keeps one in a folder.
//
// The embedded ledger's truth is a log of blocks that is only ever appended to:
// each block holds the hash of the one before, its transactions as they were
// signed, and the hash of their results. A transaction is acknowledged after
// its block was synced; transactions that arrive during a sync share the next
// one. Everything else, the rows of payment/contract among it, is derived: it is
// made again from the log when it is missing, behind or damaged. Verify walks a
// log alone and executes it anew.
//
// The package does not decide what a transaction does (payment/contract), does
// not make certificates (identity) and knows no network: payment/ledger/remote
// carries the interface over HTTP, payment/ledger/fabric is the interface on
// Hyperledger Fabric. The log's format is in docs/ledger.md.
package ledger
