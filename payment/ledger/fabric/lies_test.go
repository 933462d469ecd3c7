//go:build fabric

package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric/invocation"
	"torrente/payment/ledger/ledgertest"
)

// lies has Beta lie in every way that a peer can to a member of Alpha, whose
// profile has Beta first. With a peer of Alpha's, or with those of two honest
// organisations, the truth comes out; with one it does not, and neither does the
// lie.
func lies(t *testing.T, n *realNetwork, m *ledgertest.Members) {
	for what, one := range map[string]struct {
		lie   liar
		check func(t *testing.T, c *Client, m *ledgertest.Members, truth *Client)
	}{
		"about a balance": {liar{change: map[string]func([]byte) []byte{evaluates: richer}}, seesBalance},
		"about what was judged": {
			liar{change: map[string]func([]byte) []byte{endorses: judged, evaluates: judgedEvaluation}}, isCommitted,
		},
		"about a commit": {
			liar{withhold: map[string][]byte{submits: {}, statuses: valid()}}, isCommitted,
		},
		"about a conflict": {liar{change: map[string]func([]byte) []byte{statuses: conflict}}, isCommitted},
		"about events":     {liar{change: map[string]func([]byte) []byte{delivers: invalidBlock}}, seesEvents},
	} {
		t.Run(what, func(t *testing.T) {
			truth := n.client(t, "gamma")
			all := must[ledger.Receipt](t)(truth.Submit(t.Context(), transfer(t, truth, m.Rich, m.Poor))).Height
			for _, organisation := range append(slices.Clone(organisationsOfNetwork), "delta") {
				n.hasBlocks(t, organisation, all) // an honest peer may be a block behind
			}
			for who, msps := range map[string][]string{
				"with an own peer": {"Alpha", "Beta", "Gamma"}, "with two honest ones": {"Beta", "Gamma", "Delta"},
			} {
				t.Run(who, func(t *testing.T) { one.check(t, n.deceived(t, &one.lie, msps), m, truth) })
			}
			t.Run("with one honest one", func(t *testing.T) {
				c := n.deceived(t, &one.lie, []string{"Beta", "Gamma"})
				c.patience = 3 * time.Second
				believesNoLie(t, c, m, truth, what)
			})
		})
	}
}

// hasBlocks waits until an organisation's peer has all blocks up to one.
func (n *realNetwork) hasBlocks(t *testing.T, organisation string, height uint64) {
	t.Helper()
	c := n.client(t, organisation)
	until(t, organisation+" has all blocks", func() bool {
		return must[contract.Answer](t)(c.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})).Ledger.Height >= height
	})
}

// deceived is a client of Alpha's to which Beta lies.
func (n *realNetwork) deceived(t *testing.T, l *liar, msps []string) *Client {
	t.Helper()
	p := n.profile(t, "alpha")
	var some []Gateway
	for _, msp := range msps {
		for _, g := range p.Gateways {
			if g.MSP == msp {
				some = append(some, g)
			}
		}
	}
	p.Gateways = some
	n.lying(t, p, "Beta", "beta", &liar{withhold: l.withhold, change: l.change})
	return connect(t, p)
}

func seesBalance(t *testing.T, c *Client, m *ledgertest.Members, truth *Client) {
	for range 10 {
		if got, want := available(t, c, m.Rich), available(t, truth, m.Rich); got != want {
			t.Fatalf("%s coins, and there are %s", got, want)
		}
	}
}

// isCommitted submits what must be on the ledger afterwards, once.
func isCommitted(t *testing.T, c *Client, m *ledgertest.Members, truth *Client) {
	before := available(t, truth, m.Poor)
	s := transfer(t, c, m.Rich, m.Poor)
	r := must[ledger.Receipt](t)(c.Submit(t.Context(), s))
	if r.Code != contract.OK || r.Coins != 1 || r.Height == 0 {
		t.Errorf("%+v", r)
	}
	if got := must[ledger.Receipt](t)(truth.Submit(t.Context(), s)); got.Height != r.Height || got.Code != r.Code || got.Tx != r.Tx {
		t.Errorf("%+v, and the truth is %+v", r, got)
	}
	if got := available(t, truth, m.Poor); got != before+1 {
		t.Errorf("%s coins, and before %s", got, before)
	}
}

// seesEvents compares all blocks with those of an honest peer.
func seesEvents(t *testing.T, c *Client, m *ledgertest.Members, truth *Client) {
	last := must[ledger.Receipt](t)(truth.Submit(t.Context(), transfer(t, truth, m.Rich, m.Poor))).Height
	got, want := blocks(t, c, 1, last), blocks(t, truth, 1, last)
	for i := range want {
		if len(got[i].Events) != len(want[i].Events) || got[i].Height != want[i].Height {
			t.Fatalf("%+v, and the truth is %+v", got[i], want[i])
		}
	}
}

func blocks(t *testing.T, c *Client, from, to uint64) (all []ledger.Block) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for b, err := range c.Events(ctx, from) {
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, b); b.Height >= to {
			break
		}
	}
	return all
}

// believesNoLie asks where one honest organisation and one liar are heard.
func believesNoLie(t *testing.T, c *Client, m *ledgertest.Members, truth *Client, what string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	switch what {
	case "about a balance":
		_, err = c.Query(ctx, contract.Query{Kind: contract.QueryAccount, Account: ledgertest.AccountOf(m.Rich)})
	case "about events":
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		for b, failed := range c.Events(ctx, 1) {
			if err = failed; failed == nil && len(b.Events) > 0 { // nobody lies about those that have none
				t.Errorf("block %d is told", b.Height)
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		return
	default:
		s := transfer(t, c, m.Rich, m.Poor)
		var r ledger.Receipt
		if r, err = c.Submit(ctx, s); err == nil { // then by the honest one, and it is true
			if got := must[ledger.Receipt](t)(truth.Submit(t.Context(), s)); got.Height != r.Height || got.Code != r.Code || got.Tx != r.Tx {
				t.Errorf("%+v, and the truth is %+v", r, got)
			}
			return
		}
	}
	if far, ok := errors.AsType[*Unreachable](err); !ok {
		t.Errorf("%v", err)
	} else {
		t.Log(far)
	}
}

// richer adds coins to every account that is asked for.
func richer(answer []byte) []byte {
	return evaluation(answer, func(result []byte) []byte {
		var a contract.Answer
		if json.Unmarshal(result, &a) != nil || a.Account == nil {
			return result
		}
		a.Account.Available += 1_000_000
		text, _ := json.Marshal(a)
		return text
	})
}

// evaluation changes the result that Evaluate answers.
func evaluation(answer []byte, change func([]byte) []byte) []byte {
	var r gatewaypb.EvaluateResponse
	if proto.Unmarshal(answer, &r) != nil || r.Result == nil {
		return answer
	}
	r.Result.Payload = change(r.Result.Payload)
	out, _ := proto.Marshal(&r)
	return out
}

// done says that a transaction was executed long ago.
func done(result []byte) []byte {
	var o invocation.Outcome
	if json.Unmarshal(result, &o) != nil || o.Tx == (contract.TxID{}) {
		return result
	}
	o.Wrote, o.Code, o.Coins = false, contract.NoCoins, 0
	text, _ := json.Marshal(o)
	return text
}

func judgedEvaluation(answer []byte) []byte { return evaluation(answer, done) }

// judged changes the result in the envelope that Endorse answers.
func judged(answer []byte) []byte {
	var r gatewaypb.EndorseResponse
	var payload common.Payload
	var tx peer.Transaction
	var action peer.ChaincodeActionPayload
	var response peer.ProposalResponsePayload
	var chaincode peer.ChaincodeAction
	if proto.Unmarshal(answer, &r) != nil || proto.Unmarshal(r.GetPreparedTransaction().GetPayload(), &payload) != nil ||
		proto.Unmarshal(payload.GetData(), &tx) != nil || len(tx.Actions) == 0 || proto.Unmarshal(tx.Actions[0].GetPayload(), &action) != nil ||
		proto.Unmarshal(action.GetAction().GetProposalResponsePayload(), &response) != nil ||
		proto.Unmarshal(response.GetExtension(), &chaincode) != nil {
		return answer
	}
	chaincode.Response.Payload = done(chaincode.Response.Payload)
	response.Extension, _ = proto.Marshal(&chaincode)
	action.Action.ProposalResponsePayload, _ = proto.Marshal(&response)
	tx.Actions[0].Payload, _ = proto.Marshal(&action)
	payload.Data, _ = proto.Marshal(&tx)
	r.PreparedTransaction.Payload, _ = proto.Marshal(&payload)
	out, _ := proto.Marshal(&r)
	return out
}

func told(code peer.TxValidationCode) []byte {
	out, _ := proto.Marshal(&gatewaypb.CommitStatusResponse{Result: code, BlockNumber: 1})
	return out
}

func valid() []byte { return told(peer.TxValidationCode_VALID) }

func conflict([]byte) []byte { return told(peer.TxValidationCode_MVCC_READ_CONFLICT) }

// invalidBlock has no transaction of a block be valid.
func invalidBlock(answer []byte) []byte {
	var r peer.DeliverResponse
	if proto.Unmarshal(answer, &r) != nil || r.GetBlock() == nil {
		return answer
	}
	codes := r.GetBlock().GetMetadata().GetMetadata()[common.BlockMetadataIndex_TRANSACTIONS_FILTER]
	for i := range codes {
		codes[i] = byte(peer.TxValidationCode_MVCC_READ_CONFLICT)
	}
	out, _ := proto.Marshal(&r)
	return out
}
