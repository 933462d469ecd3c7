// Package wallet keeps on disk what a node must not forget about payment, in the
// order that payment-protocol section 6 asks for.
//
// A wallet is three files in a folder. wallet.db (bbolt) holds what is worth an
// fsync each time: chains opened, claims received, closes signed, books, and
// transactions before they are first sent. links.log and owed.log are only
// appended to, one write for each record or batch: a link received, a unit
// owed. What was written survives the death of the process; links are synced
// together, at most Config.SyncEvery later, and then survive the loss of power
// too. The logs are folded into wallet.db when they have grown to 8 MiB, at
// Close and at Open.
//
// The package decides nothing: it verifies no link (package swarm does, before
// it asks for one to be kept), talks to no ledger, makes no chain and reads no
// clock but the timer of its syncs. It does not keep two processes out of a
// folder, beyond what bbolt's lock does: the caller locks its home. Of its
// secrets it stores one, sealed; see DeriveKey.
package wallet
