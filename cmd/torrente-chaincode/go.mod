module torrente/cmd/torrente-chaincode

go 1.26.2

require (
	github.com/hyperledger/fabric-chaincode-go/v2 v2.3.0
	github.com/hyperledger/fabric-protos-go-apiv2 v0.3.7
	google.golang.org/grpc v1.82.1
	google.golang.org/protobuf v1.36.11
	torrente v0.0.0
)

require (
	github.com/google/renameio/v2 v2.0.2 // indirect
	github.com/jackpal/bencode-go v1.2.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260414002931-afd174a4e478 // indirect
)

replace torrente => ../..
