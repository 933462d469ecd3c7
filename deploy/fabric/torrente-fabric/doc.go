// Command torrente-fabric brings up a Hyperledger Fabric network on one machine,
// for tests and to try things out: three Raft orderers and one peer and one
// chaincode service for each of three organisations, all on loopback, with
// certificates of authorities that it makes itself.
//
//	torrente-fabric up --dir DIR [--genesis FILE]   make and start, or start again
//	torrente-fabric deploy --dir DIR --genesis FILE install the chaincode, begin the ledger
//	torrente-fabric add-org --dir DIR --org NAME    one more organisation, by vote of a majority
//	torrente-fabric revoke --dir DIR --org NAME --certificate FILE
//	torrente-fabric renew --dir DIR --org NAME      certificates anew, of the same keys
//	torrente-fabric rotate --dir DIR --orderer NAME a new orderer in the place of one
//	torrente-fabric upgrade --dir DIR               the chaincode of the source as it is now
//	torrente-fabric status --dir DIR
//	torrente-fabric down --dir DIR                  stop; the data stays
//
// It builds Fabric's own programs from deploy/fabric/tools/go.mod, which pins
// them, and uses neither Docker nor shell tools. Afterwards DIR/profiles holds
// a connection profile for each organisation, which payment/ledger/fabric
// reads.
package main
