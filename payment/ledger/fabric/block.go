package fabric

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"torrente/payment"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric/invocation"
)

// errBlock means that a block cannot be read.
var errBlock = errors.New("a block of the channel cannot be read: update this program")

// decode reads what our chaincode's valid transactions did in a block. Its time
// is that of the last of them, and 0 if there is none: Fabric's blocks have no
// time, and what others write into theirs nobody checked.
func decode(b *common.Block, chaincode string) (ledger.Block, error) {
	out := ledger.Block{Height: b.GetHeader().GetNumber(), Events: []payment.LedgerEvent{}}
	var codes []byte
	if all := b.GetMetadata().GetMetadata(); len(all) > int(common.BlockMetadataIndex_TRANSACTIONS_FILTER) {
		codes = all[common.BlockMetadataIndex_TRANSACTIONS_FILTER]
	}
	for i, envelope := range b.GetData().GetData() {
		if i >= len(codes) {
			return out, fmt.Errorf("%w (block %d has %d verdicts)", errBlock, out.Height, len(codes))
		}
		one, err := read(envelope, chaincode, peer.TxValidationCode(codes[i]) == peer.TxValidationCode_VALID)
		if err != nil {
			return out, fmt.Errorf("%w (block %d, transaction %d: %w)", errBlock, out.Height, i, err)
		}
		if one.Time != 0 {
			out.Time = one.Time
		}
		for _, e := range one.Events {
			e.Height = out.Height
			out.Events = append(out.Events, e)
		}
	}
	return out, nil
}

// read reads one transaction of a block. What is not ours, or not valid, is
// empty: an orderer takes bytes that nobody can read, and peers find them invalid.
func read(envelope []byte, chaincode string, valid bool) (one invocation.Event, err error) {
	if !valid {
		return one, nil
	}
	var e common.Envelope
	var payload common.Payload
	var header common.ChannelHeader
	if err := proto.Unmarshal(envelope, &e); err != nil {
		return one, err
	}
	if err := proto.Unmarshal(e.Payload, &payload); err != nil {
		return one, err
	}
	if err := proto.Unmarshal(payload.GetHeader().GetChannelHeader(), &header); err != nil {
		return one, err
	}
	if header.GetType() != int32(common.HeaderType_ENDORSER_TRANSACTION) {
		return one, nil
	}
	event, err := eventOf(payload.GetData())
	if err != nil || event.GetChaincodeId() != chaincode || event.GetEventName() != invocation.EventName {
		return one, err
	}
	if len(event.GetPayload()) > invocation.MaxEvent {
		return one, fmt.Errorf("an event of %d bytes", len(event.GetPayload()))
	}
	return one, json.Unmarshal(event.GetPayload(), &one)
}

// eventOf finds a transaction's event, which is nil if it has none.
func eventOf(data []byte) (*peer.ChaincodeEvent, error) {
	var tx peer.Transaction
	if err := proto.Unmarshal(data, &tx); err != nil || len(tx.Actions) == 0 {
		return nil, err
	}
	var action peer.ChaincodeActionPayload
	if err := proto.Unmarshal(tx.Actions[0].GetPayload(), &action); err != nil {
		return nil, err
	}
	var response peer.ProposalResponsePayload
	if err := proto.Unmarshal(action.GetAction().GetProposalResponsePayload(), &response); err != nil {
		return nil, err
	}
	var done peer.ChaincodeAction
	if err := proto.Unmarshal(response.GetExtension(), &done); err != nil {
		return nil, err
	}
	var event peer.ChaincodeEvent
	return &event, proto.Unmarshal(done.GetEvents(), &event)
}
