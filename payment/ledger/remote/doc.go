// Package remote is a ledger on another machine: the HTTP transport of the
// ledger interface, as a member sees it.
//
// A Client talks TLS 1.3 to a federation's portal, shows the member's
// certificate and accepts no portal but one whose certificate ends in a root of
// the federation. It sends the same signed bytes again while no answer comes,
// which the ledger takes for one; it follows the ledger's events over
// connections that break, without a gap. Errors say whether the ledger cannot be
// reached (*Unreachable), is another's (*Stranger), or declines (*Refused,
// *ledger.ClockOff).
//
// A Directory is what the federation says of itself; federation.json keeps one.
// The package signs nothing, decides nothing about transactions, keeps nothing
// on disk, and does not answer: the other end is package federation.
package remote
