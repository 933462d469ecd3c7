// Package fabric is the ledger on Hyperledger Fabric: the Ledger interface over
// the gateways that the peers of a channel offer, whose chaincode is
// cmd/torrente-chaincode.
//
// A transaction is endorsed, ordered and committed, and any of these may fail or
// say nothing. What holds: an orderer that took a transaction may lose it, so
// that only the commit status counts; while that is unknown the same signed
// Fabric transaction is sent again, by this gateway or another, which Fabric
// executes once; when it is known to be invalid, as after a conflict, a new one
// is made, which the chaincode executes once by the id of ours. So Submit
// insists until it knows, its context ends, or its patience does.
//
// The package does not judge transactions (payment/admission, in each
// endorser) and keeps no state: what it has seen is asked for again.
package fabric
