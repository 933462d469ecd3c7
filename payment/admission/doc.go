// Package admission decides whether a signed transaction is executed at all:
// its bytes are well formed, its creator signed it, the creator's certificate
// ends in a root that the ledger trusts for that organisation, and its time is
// near the ledger's clock.
//
// Every ledger asks the same questions here, the embedded one in its process
// and Hyperledger Fabric in each endorser's chaincode, so that a transaction
// is admitted by all or by none. What an admitted transaction does is
// payment/contract's to say.
package admission
