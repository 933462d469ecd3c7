package fabric

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric/invocation"
	"torrente/payment/ledger/ledgertest"
)

// endorsers execute calls as chaincodes do, and lie as a test wants: they are
// what Verify believes nothing of.
type endorsers struct {
	t       *testing.T
	members *ledgertest.Members
	ledger  payment.LedgerID
	state   *memory
	n       byte // transactions so far
}

func newEndorsers(t *testing.T) *endorsers {
	m := ledgertest.NewMembers(t, "Alpha", time.Now())
	return &endorsers{t: t, members: m, ledger: contract.GenesisID(m.Genesis), state: newMemory()}
}

func (e *endorsers) called(function string, argument []byte) *committed {
	e.n++
	id := hex.EncodeToString(bytes.Repeat([]byte{e.n}, 32))
	return &committed{
		id: id, chaincode: "torrente", args: [][]byte{[]byte(function), argument}, event: &peer.ChaincodeEvent{}, writes: map[string][]byte{},
	}
}

func (e *endorsers) write(c *committed, rows map[string][]byte) {
	for key, value := range rows {
		c.writes[compositeOf(key)] = value
	}
}

func (e *endorsers) begin() *committed {
	c := e.called(invocation.Begin, e.members.Genesis)
	if err := contract.Init(e.state, e.members.Genesis); err != nil {
		e.t.Fatal(err)
	}
	e.write(c, e.state.taken())
	return c
}

// transfer is one of coins from rich to poor, signed by who.
func (e *endorsers) transfer(who *identity.Identity, coins payment.Amount) *contract.Signed {
	tx := &contract.Transaction{
		Ledger: e.ledger, Time: uint64(time.Now().Unix()),
		Args: &contract.Transfer{To: ledgertest.AccountOf(e.members.Poor), Coins: coins},
	}
	_, _ = rand.Read(tx.Request[:]) // which never fails
	return must[*contract.Signed](e.t)(contract.Sign(who.Key(), who.Chain(), tx))
}

func (e *endorsers) submit(s *contract.Signed) *committed {
	t := e.t
	c := e.called(invocation.Submit, s.Append(nil))
	one := must[*admission.Candidate](t)(admission.Identify(s))
	result := must[contract.Result](t)(contract.Apply(e.state, one.Creator, one.Tx))
	rows := e.state.taken()
	rows[invocation.ReceiptKey(one.ID)] = result.Append([]byte(c.id))
	e.write(c, rows)
	c.answer = must[[]byte](t)(json.Marshal(invocation.Outcome{Tx: one.ID, Code: result.Code, Coins: result.Coins, Wrote: true}))
	c.event = &peer.ChaincodeEvent{
		ChaincodeId: "torrente", EventName: invocation.EventName,
		Payload: must[[]byte](t)(json.Marshal(invocation.Event{Tx: one.ID, Time: one.Tx.Time, Events: result.Events})),
	}
	return c
}

// envelopeOf is a call as a block holds it. rows of other namespaces are written
// too.
func envelopeOf(t testing.TB, c *committed, others map[string]string) []byte {
	t.Helper()
	set := func(namespace string, writes map[string][]byte) *rwset.NsReadWriteSet {
		var s kvrwset.KVRWSet
		for key, value := range writes {
			s.Writes = append(s.Writes, &kvrwset.KVWrite{Key: key, Value: value, IsDelete: value == nil})
		}
		return &rwset.NsReadWriteSet{Namespace: namespace, Rwset: bytesOf(t, &s)}
	}
	sets := []*rwset.NsReadWriteSet{set(c.chaincode, c.writes), set("_lifecycle", nil)}
	for namespace, key := range others {
		sets = append(sets, set(namespace, map[string][]byte{key: {1}}))
	}
	response := &peer.ProposalResponsePayload{Extension: bytesOf(t, &peer.ChaincodeAction{
		Results: bytesOf(t, &rwset.TxReadWriteSet{NsRwset: sets}), Events: bytesOf(t, c.event), Response: &peer.Response{Payload: c.answer},
		ChaincodeId: &peer.ChaincodeID{Name: c.chaincode},
	})}
	// Nobody checks the name in here.
	spec := &peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
		ChaincodeId: &peer.ChaincodeID{Name: "whatever"}, Input: &peer.ChaincodeInput{Args: c.args},
	}}
	action := &peer.ChaincodeActionPayload{
		ChaincodeProposalPayload: bytesOf(t, &peer.ChaincodeProposalPayload{Input: bytesOf(t, spec)}),
		Action:                   &peer.ChaincodeEndorsedAction{ProposalResponsePayload: bytesOf(t, response)},
	}
	data := bytesOf(t, &peer.Transaction{Actions: []*peer.TransactionAction{{Payload: bytesOf(t, action)}}})
	header := bytesOf(t, &common.ChannelHeader{
		Type: int32(common.HeaderType_ENDORSER_TRANSACTION), TxId: c.id,
		Extension: bytesOf(t, &peer.ChaincodeHeaderExtension{ChaincodeId: &peer.ChaincodeID{Name: c.chaincode}}),
	})
	payload := bytesOf(t, &common.Payload{Header: &common.Header{ChannelHeader: header}, Data: data})
	return bytesOf(t, &common.Envelope{Payload: payload})
}

// chained is a channel's blocks: the first with the channel's configuration, and
// one for each transaction.
func chained(t testing.TB, envelopes ...[]byte) (all []*common.Block) {
	t.Helper()
	envelopes = append([][]byte{wrap(t, common.HeaderType_CONFIG, []byte("configuration"))}, envelopes...)
	var previous []byte
	for i, e := range envelopes {
		b := blockOf(uint64(i), []byte{0}, e)
		b.Header.PreviousHash, b.Header.DataHash = previous, sumOf(e)
		all = append(all, b)
		previous = must[[]byte](t)(follows(b, uint64(i), previous))
	}
	return all
}

func sumOf(b []byte) []byte {
	s := contract.GenesisID(b) // SHA-256
	return s[:]
}

func (e *endorsers) verify(blocks []*common.Block) (ledger.Report, error) {
	r := newReplay("torrente", e.ledger)
	for _, b := range blocks {
		if err := r.block(b); err != nil {
			return ledger.Report{}, err
		}
	}
	return r.report()
}

// What honest endorsers did is found right, in blocks that also hold what is not
// ours or was not valid.
func TestVerifyHonestEndorsers(t *testing.T) {
	e := newEndorsers(t)
	begin, first := e.begin(), e.submit(e.transfer(e.members.Rich, 300))
	foreign := e.called("else", []byte("x"))
	foreign.chaincode = "other"
	foreign.writes["a"] = []byte{1}
	second := e.submit(e.transfer(e.members.Rich, 400))
	invalid := e.called(invocation.Submit, []byte("which was not executed"))
	blocks := chained(t,
		envelopeOf(t, begin, nil), envelopeOf(t, first, nil), envelopeOf(t, foreign, map[string]string{"third": "b"}), envelopeOf(t, invalid, nil), envelopeOf(t, second, nil))
	blocks[4].Metadata.Metadata[common.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{byte(peer.TxValidationCode_MVCC_READ_CONFLICT)}
	r, err := e.verify(blocks)
	if err != nil || r.Height != 5 || r.Transactions != 3 || !r.Conserved || r.Minted != 1_000_000 || r.Ledger != e.ledger || r.Name != "test" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := e.verify(chained(t)); !errors.Is(err, contract.ErrNoLedger) {
		t.Errorf("a channel without a ledger: %v", err)
	}
}

// Any writer of the channel can have calls ordered that write nothing, which
// honest endorsers sign: a query, a refusal, a repetition, and what is repeated
// before it is done.
func TestVerifyPassesWhatDidNothing(t *testing.T) {
	e := newEndorsers(t)
	answered := func(function string, argument []byte, answer any) []byte {
		c := e.called(function, argument)
		c.answer = must[[]byte](t)(json.Marshal(answer))
		return envelopeOf(t, c, nil)
	}
	begin := e.begin()
	s := e.transfer(e.members.Rich, 300)
	one := must[*admission.Candidate](t)(admission.Identify(s))
	early := answered(invocation.Submit, s.Append(nil), invocation.Outcome{Tx: one.ID, Code: contract.NoCoins})
	done := e.submit(s)
	r, err := e.verify(chained(t,
		envelopeOf(t, begin, nil), early, envelopeOf(t, done, nil),
		answered(invocation.Submit, s.Append(nil), invocation.Outcome{Tx: one.ID, Coins: 300, Done: done.id}),
		answered(invocation.Query, []byte(`{"kind":"ledger"}`), contract.Answer{}),
		answered(invocation.Submit, e.transfer(e.members.Rich, 5_000_000).Append(nil), invocation.Outcome{Code: contract.NoCoins})))
	if err != nil || r.Height != 6 || r.Transactions != 2 || !r.Conserved {
		t.Errorf("%+v, %v", r, err)
	}
}

// Which transactions are valid is in no block's hash, and in the report's.
func TestReportsDifferByVerdicts(t *testing.T) {
	e := newEndorsers(t)
	blocks := chained(t, envelopeOf(t, e.begin(), nil), envelopeOf(t, e.submit(e.transfer(e.members.Rich, 300)), nil))
	told := must[ledger.Report](t)(e.verify(blocks))
	if again := must[ledger.Report](t)(e.verify(blocks)); again.Hash != told.Hash {
		t.Errorf("%s, then %s", told.Hash, again.Hash)
	}
	blocks[2].Metadata.Metadata[common.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{byte(peer.TxValidationCode_MVCC_READ_CONFLICT)}
	if other := must[ledger.Report](t)(e.verify(blocks)); other.Hash == told.Hash || other.Height != told.Height {
		t.Errorf("%+v and %+v", told, other)
	}
}

// Whatever endorsers or a peer make of it is found out, with the block.
func TestVerifyFindsLies(t *testing.T) {
	type lie struct {
		call   func(e *endorsers, c *committed) // what the endorsers made of the transfer
		blocks func(blocks []*common.Block)     // what the peer made of the blocks
		others map[string]string
		want   error
	}
	row := func(c *committed, prefix string) string {
		for key := range c.writes {
			if bytes.HasPrefix([]byte(key), []byte(prefix)) {
				return key
			}
		}
		t.Fatalf("no row begins with %q", prefix)
		return ""
	}
	for name, l := range map[string]lie{
		"another code": {call: func(_ *endorsers, c *committed) {
			c.answer = bytes.Replace(c.answer, []byte(`"code":0`), []byte(`"code":1`), 1)
		}, want: errAnswer},
		"other coins": {call: func(_ *endorsers, c *committed) { c.answer = bytes.Replace(c.answer, []byte("300"), []byte("301"), 1) }, want: errAnswer},
		"no answer":   {call: func(_ *endorsers, c *committed) { c.answer = nil }, want: errAnswer},
		"another event": {call: func(_ *endorsers, c *committed) {
			c.event.Payload = bytes.Replace(c.event.Payload, []byte("300"), []byte("30"), 1)
		}, want: errTold},
		"no event":           {call: func(_ *endorsers, c *committed) { c.event = &peer.ChaincodeEvent{} }, want: errTold},
		"another balance":    {call: func(_ *endorsers, c *committed) { c.writes[row(c, "\x00acct\x00")] = []byte{1, 2, 3} }, want: errWrites},
		"a balance kept":     {call: func(_ *endorsers, c *committed) { delete(c.writes, row(c, "\x00acct\x00")) }, want: errWrites},
		"a row more":         {call: func(_ *endorsers, c *committed) { c.writes["\x00acct\x00ff\x00"] = []byte{9} }, want: errWrites},
		"no receipt":         {call: func(_ *endorsers, c *committed) { delete(c.writes, row(c, "\x00receipt\x00")) }, want: errWrites},
		"rows of another":    {others: map[string]string{"lscc": "x"}, want: errWrites},
		"rows by another":    {call: func(_ *endorsers, c *committed) { c.chaincode = "other" }, others: map[string]string{"torrente": "x"}, want: errWrites},
		"a stranger":         {call: func(e *endorsers, c *committed) { *c = *e.submit(e.transfer(otherMember(e.t), 1)) }, want: identity.ErrOtherFederation},
		"another signature":  {call: func(_ *endorsers, c *committed) { c.args[1][len(c.args[1])-1] ^= 1 }, want: ledger.ErrDamaged},
		"no transaction":     {call: func(_ *endorsers, c *committed) { c.args[1] = []byte("x") }, want: contract.ErrTransaction},
		"another function":   {call: func(_ *endorsers, c *committed) { c.args[0] = []byte("give") }, want: ledger.ErrDamaged},
		"no arguments":       {call: func(_ *endorsers, c *committed) { c.args = nil }, want: ledger.ErrDamaged},
		"it begins again":    {call: func(e *endorsers, c *committed) { c.args = [][]byte{[]byte(invocation.Begin), e.members.Genesis} }},
		"another begins":     {call: func(_ *endorsers, c *committed) { c.args = [][]byte{[]byte(invocation.Begin), []byte("x")} }, want: ledger.ErrDamaged},
		"a block left out":   {blocks: func(b []*common.Block) { b[2].Header.Number++ }, want: ledger.ErrDamaged},
		"a block of another": {blocks: func(b []*common.Block) { b[2].Header.PreviousHash = make([]byte, 32) }, want: ledger.ErrDamaged},
		"other transactions": {blocks: func(b []*common.Block) { b[2].Data.Data[0] = b[1].Data.Data[0] }, want: ledger.ErrDamaged},
		"twice": {blocks: func(b []*common.Block) {
			b[2].Data.Data = append(b[2].Data.Data, b[2].Data.Data[0])
			b[2].Header.DataHash = sumOf(bytes.Join(b[2].Data.Data, nil))
			b[2].Metadata.Metadata[common.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{0, 0}
		}, want: ledger.ErrDamaged},
		"no verdicts": {blocks: func(b []*common.Block) { b[2].Metadata = nil }, want: errBlock},
		"not begun": {blocks: func(b []*common.Block) {
			b[1].Metadata.Metadata[common.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{1}
		}, want: ledger.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndorsers(t)
			begin, c := e.begin(), e.submit(e.transfer(e.members.Rich, 300))
			if l.call != nil {
				l.call(e, c)
			}
			blocks := chained(t, envelopeOf(t, begin, nil), envelopeOf(t, c, l.others))
			if l.blocks != nil {
				l.blocks(blocks)
			}
			r, err := e.verify(blocks)
			if err == nil || l.want != nil && !errors.Is(err, l.want) {
				t.Errorf("%+v, %v; want %v", r, err, l.want)
			}
		})
	}
}

// otherMember is somebody whom another authority calls a member of the same
// organisation.
func otherMember(t *testing.T) *identity.Identity {
	return ledgertest.NewMembers(t, "Alpha", time.Now()).Rich
}

func FuzzReadTransaction(f *testing.F) {
	c := &committed{id: "1", chaincode: "torrente", args: [][]byte{[]byte(invocation.Begin), []byte("x")}, event: &peer.ChaincodeEvent{}, writes: map[string][]byte{"a": {1}, "b": nil}}
	f.Add(envelopeOf(f, c, map[string]string{"other": "x"}))
	f.Add(envelopeOf(f, c, nil))
	f.Add(wrap(f, common.HeaderType_CONFIG, []byte("configuration")))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		r := newReplay("torrente", payment.LedgerID{})
		b := blockOf(0, []byte{0}, envelope)
		b.Header.DataHash = sumOf(envelope)
		if r.block(b) == nil && r.trust != nil {
			t.Error("a ledger has begun whose genesis document nobody knows")
		}
	})
}
