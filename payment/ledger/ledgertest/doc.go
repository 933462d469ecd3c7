// Package ledgertest is what every Ledger promises, as tests. Each
// implementation runs them in its own tests: the embedded ledger, its client
// over HTTP, and the one on Hyperledger Fabric.
//
// Run asks a Ledger by its interface alone. It knows nothing of blocks but
// their heights and events, of time but that transactions are judged by the
// ledger's clock, and lets a Ledger make empty blocks.
package ledgertest
