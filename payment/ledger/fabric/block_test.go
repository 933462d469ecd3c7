package fabric

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"torrente/payment"
	"torrente/payment/ledger/fabric/invocation"
)

func bytesOf(t testing.TB, m proto.Message) []byte {
	t.Helper()
	return must[[]byte](t)(proto.Marshal(m))
}

// envelope is a transaction of a chaincode, as a block holds it.
func envelope(t testing.TB, chaincode, event string, payload []byte) []byte {
	t.Helper()
	done := bytesOf(t, &peer.ChaincodeAction{Events: bytesOf(t, &peer.ChaincodeEvent{ChaincodeId: chaincode, EventName: event, Payload: payload})})
	response := bytesOf(t, &peer.ProposalResponsePayload{Extension: done})
	action := bytesOf(t, &peer.ChaincodeActionPayload{Action: &peer.ChaincodeEndorsedAction{ProposalResponsePayload: response}})
	return wrap(t, common.HeaderType_ENDORSER_TRANSACTION, bytesOf(t, &peer.Transaction{Actions: []*peer.TransactionAction{{Payload: action}}}))
}

func wrap(t testing.TB, kind common.HeaderType, data []byte) []byte {
	t.Helper()
	header := bytesOf(t, &common.ChannelHeader{Type: int32(kind), Timestamp: timestamppb.New(timestamppb.Now().AsTime().Truncate(1e9))})
	payload := bytesOf(t, &common.Payload{Header: &common.Header{ChannelHeader: header}, Data: data})
	return bytesOf(t, &common.Envelope{Payload: payload})
}

func blockOf(number uint64, codes []byte, envelopes ...[]byte) *common.Block {
	return &common.Block{
		Header: &common.BlockHeader{Number: number}, Data: &common.BlockData{Data: envelopes},
		Metadata: &common.BlockMetadata{Metadata: [][]byte{nil, nil, codes}},
	}
}

// Of a block, what our chaincode's valid transactions did is told, in order.
func TestBlocksAreRead(t *testing.T) {
	event := func(coins payment.Amount, time uint64) []byte {
		return must[[]byte](t)(json.Marshal(invocation.Event{Time: time, Events: []payment.LedgerEvent{{Kind: payment.EventTransfer, Coins: coins}}}))
	}
	b := blockOf(7, []byte{0, 0, byte(peer.TxValidationCode_MVCC_READ_CONFLICT), 0, 0, 0},
		envelope(t, "torrente", invocation.EventName, event(1, 100)), envelope(t, "other", invocation.EventName, event(2, 100)),
		envelope(t, "torrente", invocation.EventName, event(3, 100)), envelope(t, "torrente", "other", event(4, 100)),
		wrap(t, common.HeaderType_CONFIG, []byte("configuration")), envelope(t, "torrente", invocation.EventName, event(5, 101)))
	got, err := decode(b, "torrente")
	if err != nil || got.Height != 7 || got.Time != 101 || len(got.Events) != 2 || got.Events[0].Coins != 1 || got.Events[1].Coins != 5 || got.Events[1].Height != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	// An orderer takes bytes that nobody can read, which peers find invalid.
	unreadable := []byte{byte(peer.TxValidationCode_BAD_PAYLOAD)}
	for _, data := range [][]byte{[]byte("x"), wrap(t, common.HeaderType_ENDORSER_TRANSACTION, []byte("x"))} {
		if got, err := decode(blockOf(7, unreadable, data), "torrente"); err != nil || len(got.Events) != 0 || got.Time != 0 {
			t.Errorf("%q: %+v, %v", data, got, err)
		}
	}
	late := envelope(t, "other", "", nil) // whose time is of now
	if got, err := decode(blockOf(7, []byte{0, 0}, envelope(t, "torrente", invocation.EventName, event(1, 100)), late), "torrente"); err != nil || got.Time != 100 {
		t.Errorf("%+v, %v", got, err)
	}
	empty, err := decode(blockOf(8, []byte{0}, wrap(t, common.HeaderType_CONFIG, nil)), "torrente")
	if err != nil || empty.Events == nil || len(empty.Events) != 0 || empty.Time != 0 {
		t.Errorf("%+v, %v", empty, err)
	}
}

func TestBadBlocksAreRefused(t *testing.T) {
	whole := envelope(t, "torrente", invocation.EventName, []byte("{}"))
	for what, b := range map[string]*common.Block{
		"no verdicts":     {Header: &common.BlockHeader{Number: 1}, Data: &common.BlockData{Data: [][]byte{whole}}},
		"too few":         blockOf(1, []byte{0}, whole, whole),
		"no message":      blockOf(1, []byte{0}, []byte("x")),
		"no JSON":         blockOf(1, []byte{0}, envelope(t, "torrente", invocation.EventName, []byte("x"))),
		"a huge event":    blockOf(1, []byte{0}, envelope(t, "torrente", invocation.EventName, make([]byte, invocation.MaxEvent+1))),
		"data of nothing": blockOf(1, []byte{0}, wrap(t, common.HeaderType_ENDORSER_TRANSACTION, []byte("x"))),
	} {
		if got, err := decode(b, "torrente"); !errors.Is(err, errBlock) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(envelope(f, "torrente", invocation.EventName, []byte(`{"events":[{"kind":1}]}`)), byte(0))
	f.Add([]byte{}, byte(1))
	f.Fuzz(func(t *testing.T, envelope []byte, code byte) {
		got, err := decode(blockOf(3, []byte{code}, envelope), "torrente")
		for _, e := range got.Events {
			if e.Height != 3 || code != 0 {
				t.Errorf("%+v, %v", e, err)
			}
		}
	})
}
