// Command torrente-chaincode is the ledger's rules as chaincode on Hyperledger
// Fabric. It runs as a service of each organisation that endorses, which that
// organisation's peer calls by mutual TLS.
//
// The rules are payment/contract, and who may call them is payment/admission,
// the same bytes as in the embedded ledger. This command adds what they do not
// know: how a State is kept in a Fabric peer (rows.go), the names of the calls
// (chaincode.go), and this endorser's clock (submit.go). A transaction is
// executed by its own signature, whoever submits it: the Fabric identity of the
// submitter only has to be a writer of the channel.
//
// It is a module of its own, so that nodes do not carry the shim.
package main
