package fabric

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric/invocation"
)

// replay executes the transactions of our chaincode, block after block, as its
// endorsers should have.
type replay struct {
	chaincode string
	ledger    payment.LedgerID
	state     *memory
	trust     *identity.Trust // nil: the ledger has not begun
	done      map[contract.TxID]bool
	txs       uint64

	next   uint64 // number of the next block
	hash   []byte // of the last one
	digest []byte // of all blocks and what became of their transactions
}

func newReplay(chaincode string, id payment.LedgerID) *replay {
	return &replay{chaincode: chaincode, ledger: id, state: newMemory(), done: map[contract.TxID]bool{}}
}

// block executes a block that follows the last one.
func (r *replay) block(b *common.Block) error {
	hash, err := follows(b, r.next, r.hash)
	if err != nil {
		return err
	}
	codes, err := verdicts(b)
	if err != nil {
		return err
	}
	for i, envelope := range b.GetData().GetData() {
		if peer.TxValidationCode(codes[i]) != peer.TxValidationCode_VALID {
			continue
		}
		one, err := readTransaction(envelope, r.chaincode)
		if err == nil && one.chaincode == r.chaincode && one.did() {
			err = r.transaction(one)
		}
		if err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	r.next, r.hash, r.digest = r.next+1, hash, digestOf(r.digest, hash, codes)
	return nil
}

// did reports whether a transaction is one to execute: it wrote, or told of
// something. Any writer of the channel can have a query ordered, a refusal or a
// repetition, which endorsers sign as they should.
func (t *committed) did() bool { return len(t.writes) > 0 || len(t.event.GetEventName()) > 0 }

// digestOf adds a block to the digest of those before it: its hash, and for each
// transaction whether it is valid, which the hash does not say.
func digestOf(previous, hash, codes []byte) []byte {
	sum := sha256.New()
	sum.Write(previous)
	sum.Write(hash)
	for _, code := range codes {
		if peer.TxValidationCode(code) == peer.TxValidationCode_VALID {
			sum.Write([]byte{1})
		} else {
			sum.Write([]byte{0})
		}
	}
	return sum.Sum(nil)
}

// transaction executes one call, and compares.
func (r *replay) transaction(one *committed) error {
	if len(one.args) != 2 {
		return fmt.Errorf("%w (a call with %d arguments)", ledger.ErrDamaged, len(one.args))
	}
	r.txs++
	switch string(one.args[0]) {
	case invocation.Begin:
		return r.begin(one)
	case invocation.Submit:
		return r.submit(one)
	}
	return fmt.Errorf("%w (a call of %.40q)", ledger.ErrDamaged, one.args[0])
}

func (r *replay) begin(one *committed) error {
	if id := contract.GenesisID(one.args[1]); id != r.ledger {
		return fmt.Errorf("%w (it begins the ledger %v, not %v)", ledger.ErrDamaged, id, r.ledger)
	}
	if err := contract.Init(r.state, one.args[1]); err != nil {
		return err
	}
	if err := one.wrote(r.state.taken()); err != nil {
		return err
	}
	return r.retrust()
}

func (r *replay) retrust() (err error) {
	r.trust, err = admission.TrustOf(r.state)
	return err
}

// submit executes a transaction of a member. The time when the endorsers had it
// is not in the block: that it was near its own is theirs to say.
func (r *replay) submit(one *committed) error {
	signed, err := contract.ParseSigned(one.args[1])
	if err != nil {
		return fmt.Errorf("%w (%w)", ledger.ErrDamaged, err)
	}
	c, err := admission.Identify(signed)
	if err != nil {
		return fmt.Errorf("%w (%w)", ledger.ErrDamaged, err)
	}
	if r.trust == nil {
		return fmt.Errorf("%w (transaction %v: the ledger has not begun)", ledger.ErrDamaged, c.ID)
	}
	if err := c.Trusted(r.trust); err != nil {
		return fmt.Errorf("%w (transaction %v: %w)", ledger.ErrDamaged, c.ID, err)
	}
	if r.done[c.ID] {
		return fmt.Errorf("%w (transaction %v is there twice)", ledger.ErrDamaged, c.ID)
	}
	result, err := contract.Apply(r.state, c.Creator, c.Tx)
	if err != nil {
		return err
	}
	if err := one.matches(c, &result, r.state.taken()); err != nil {
		return fmt.Errorf("%w (transaction %v: %w)", ledger.ErrDamaged, c.ID, err)
	}
	r.done[c.ID] = true
	if slices.ContainsFunc(result.Events, func(e payment.LedgerEvent) bool { return e.Kind == payment.EventRoots }) {
		return r.retrust()
	}
	return nil
}

// committed is a valid transaction of a block, as its endorsers signed it.
type committed struct {
	id        string // Fabric's
	chaincode string
	args      [][]byte
	answer    []byte
	event     *peer.ChaincodeEvent
	writes    map[string][]byte // nil values are deleted keys
}

// The reasons for which what was committed is not what our own execution did.
var (
	errAnswer = errors.New("the endorsers answered otherwise")
	errTold   = errors.New("the endorsers told of other events")
	errWrites = errors.New("the endorsers wrote otherwise")
)

// matches compares what was committed with what executing it did.
func (t *committed) matches(c *admission.Candidate, result *contract.Result, writes map[string][]byte) error {
	var out invocation.Outcome
	want := invocation.Outcome{Tx: c.ID, Code: result.Code, Items: result.Items, Coins: result.Coins, Wrote: true}
	if err := json.Unmarshal(t.answer, &out); err != nil || !result.Wrote || !sameOutcome(&out, &want) {
		return errAnswer
	}
	told, err := json.Marshal(invocation.Event{Tx: c.ID, Time: c.Tx.Time, Events: result.Events})
	if err != nil || t.event.GetEventName() != invocation.EventName || !bytes.Equal(told, t.event.GetPayload()) {
		return errTold
	}
	writes[invocation.ReceiptKey(c.ID)] = result.Append([]byte(t.id))
	return t.wrote(writes)
}

func sameOutcome(a, b *invocation.Outcome) bool {
	return a.Tx == b.Tx && a.Code == b.Code && a.Coins == b.Coins && a.Wrote == b.Wrote && a.Done == b.Done && slices.Equal(a.Items, b.Items)
}

// wrote compares the rows that were committed with those that were to be.
func (t *committed) wrote(rows map[string][]byte) error {
	if len(rows) != len(t.writes) {
		return fmt.Errorf("%w (%d rows, not %d)", errWrites, len(t.writes), len(rows))
	}
	for key, value := range rows {
		got, there := t.writes[compositeOf(key)]
		if !there || !bytes.Equal(got, value) {
			return fmt.Errorf("%w (the row %.80q)", errWrites, key)
		}
	}
	return nil
}

// compositeOf is Fabric's composite key of a row: its segments, each behind a
// zero byte, and one at the end.
func compositeOf(key string) string {
	return "\x00" + strings.ReplaceAll(key, "/", "\x00") + "\x00"
}

// verdicts are the validation codes of a block's transactions, one for each.
func verdicts(b *common.Block) ([]byte, error) {
	all := b.GetMetadata().GetMetadata()
	if len(all) <= int(common.BlockMetadataIndex_TRANSACTIONS_FILTER) || len(all[common.BlockMetadataIndex_TRANSACTIONS_FILTER]) < len(b.GetData().GetData()) {
		return nil, fmt.Errorf("%w (block %d lacks verdicts)", errBlock, b.GetHeader().GetNumber())
	}
	return all[common.BlockMetadataIndex_TRANSACTIONS_FILTER][:len(b.GetData().GetData())], nil
}

// readTransaction reads what a valid transaction did; of one that is no call of
// a chaincode, nothing. ours is the name of our chaincode.
func readTransaction(envelope []byte, ours string) (*committed, error) {
	var e common.Envelope
	var payload common.Payload
	var header common.ChannelHeader
	if err := unmarshalAll(
		envelope, &e, func() []byte { return e.GetPayload() }, &payload, func() []byte { return payload.GetHeader().GetChannelHeader() }, &header,
	); err != nil {
		return nil, err
	}
	if header.GetType() != int32(common.HeaderType_ENDORSER_TRANSACTION) {
		return &committed{}, nil
	}
	// The name in the proposal's own specification is nobody's to check: Fabric
	// executes, and validates, the one of the header's extension.
	var extension peer.ChaincodeHeaderExtension
	if err := proto.Unmarshal(header.GetExtension(), &extension); err != nil {
		return nil, err
	}
	t := &committed{id: header.GetTxId(), chaincode: extension.GetChaincodeId().GetName()}
	return t, t.readActions(payload.GetData(), ours)
}

func (t *committed) readActions(data []byte, ours string) error {
	var tx peer.Transaction
	if err := proto.Unmarshal(data, &tx); err != nil {
		return err
	}
	if len(tx.GetActions()) != 1 {
		return fmt.Errorf("%w (%d actions)", errBlock, len(tx.GetActions()))
	}
	var action peer.ChaincodeActionPayload
	var proposal peer.ChaincodeProposalPayload
	var spec peer.ChaincodeInvocationSpec
	if err := unmarshalAll(
		tx.GetActions()[0].GetPayload(), &action, func() []byte { return action.GetChaincodeProposalPayload() }, &proposal,
		func() []byte { return proposal.GetInput() }, &spec,
	); err != nil {
		return err
	}
	t.args = spec.GetChaincodeSpec().GetInput().GetArgs()
	var response peer.ProposalResponsePayload
	var done peer.ChaincodeAction
	if err := unmarshalAll(
		action.GetAction().GetProposalResponsePayload(), &response, func() []byte { return response.GetExtension() }, &done,
	); err != nil {
		return err
	}
	if name := done.GetChaincodeId().GetName(); name != t.chaincode {
		return fmt.Errorf("%w (a call of %.40q that %.40q executed)", errBlock, t.chaincode, name)
	}
	t.answer, t.event = done.GetResponse().GetPayload(), new(peer.ChaincodeEvent)
	if err := proto.Unmarshal(done.GetEvents(), t.event); err != nil {
		return err
	}
	return t.readWrites(done.GetResults(), ours)
}

// readWrites reads what was written in the chaincode's own name. Ours writes in
// no other, and no other in ours; what the others do among themselves is theirs.
func (t *committed) readWrites(results []byte, ours string) error {
	var all rwset.TxReadWriteSet
	if err := proto.Unmarshal(results, &all); err != nil {
		return err
	}
	t.writes = map[string][]byte{}
	for _, of := range all.GetNsRwset() {
		var set kvrwset.KVRWSet
		if err := proto.Unmarshal(of.GetRwset(), &set); err != nil {
			return err
		}
		wrote := len(set.GetWrites()) > 0
		if (of.GetNamespace() == ours || t.chaincode == ours) && writesMore(of, &set) || wrote && (of.GetNamespace() == ours) != (t.chaincode == ours) {
			return fmt.Errorf("%w (%.40q in the rows of %.40q)", errWrites, t.chaincode, of.GetNamespace())
		}
		if of.GetNamespace() != t.chaincode {
			continue
		}
		for _, w := range set.GetWrites() {
			t.writes[w.GetKey()] = w.GetValue()
			if w.GetIsDelete() {
				t.writes[w.GetKey()] = nil
			}
		}
	}
	return nil
}

// writesMore reports whether anything is written but rows: private data, or who
// may write a row.
func writesMore(of *rwset.NsReadWriteSet, set *kvrwset.KVRWSet) bool {
	return len(of.GetCollectionHashedRwset()) > 0 || len(set.GetMetadataWrites()) > 0
}

// unmarshalAll reads a message out of bytes, the next out of a part of it, and so
// on: proto.Message and func() []byte take turns.
func unmarshalAll(data []byte, steps ...any) error {
	for _, step := range steps {
		switch s := step.(type) {
		case proto.Message:
			if err := proto.Unmarshal(data, s); err != nil {
				return err
			}
		case func() []byte:
			data = s()
		}
	}
	return nil
}
