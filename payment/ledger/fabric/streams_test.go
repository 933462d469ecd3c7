package fabric

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"torrente/payment/ledger"
)

// teller is a peer as far as blocks go, on a socket of its own.
type teller struct {
	gatewaypb.UnimplementedGatewayServer
	peer.UnimplementedDeliverServer
	t         *testing.T
	last      uint64                                                             // height that it tells of
	deliver   func(stream int, next uint64, tell func(*common.Block) bool)       // what it tells; then the stream breaks
	filtered  func(stream int, next uint64, tell func(*peer.FilteredBlock) bool) // the same of filtered blocks
	streams   atomic.Int64                                                       // that were opened
	ails      int64                                                              // so often it is asked in vain
	asked     atomic.Int64
	says      func() string   // what the chaincode answers
	submitted func(id string) // is told of each transaction
	statuses  atomic.Int64    // that were asked for
}

// Evaluate answers how high the chain is, or what the chaincode says.
func (p *teller) Evaluate(_ context.Context, r *gatewaypb.EvaluateRequest) (*gatewaypb.EvaluateResponse, error) {
	if p.asked.Add(1) <= p.ails {
		return nil, errors.New("it is not well")
	}
	if !bytes.Contains(r.GetProposedTransaction().GetProposalBytes(), []byte("GetChainInfo")) {
		return &gatewaypb.EvaluateResponse{Result: &peer.Response{Status: 200, Payload: []byte(p.says())}}, nil
	}
	info := bytesOf(p.t, &common.BlockchainInfo{Height: p.last + 1})
	return &gatewaypb.EvaluateResponse{Result: &peer.Response{Status: 200, Payload: info}}, nil
}

// Submit takes a transaction.
func (p *teller) Submit(_ context.Context, r *gatewaypb.SubmitRequest) (*gatewaypb.SubmitResponse, error) {
	p.submitted(r.GetTransactionId())
	return &gatewaypb.SubmitResponse{}, nil
}

// CommitStatus says that every transaction is valid, in block 1000.
func (p *teller) CommitStatus(context.Context, *gatewaypb.SignedCommitStatusRequest) (*gatewaypb.CommitStatusResponse, error) {
	p.statuses.Add(1)
	return &gatewaypb.CommitStatusResponse{Result: peer.TxValidationCode_VALID, BlockNumber: 1000}, nil
}

// Deliver tells blocks.
func (p *teller) Deliver(s grpc.BidiStreamingServer[common.Envelope, peer.DeliverResponse]) error {
	next, err := seek(s)
	if err != nil {
		return err
	}
	p.deliver(int(p.streams.Add(1)), next, func(b *common.Block) bool {
		return telling(s, b == nil, &peer.DeliverResponse{Type: &peer.DeliverResponse_Block{Block: b}})
	})
	return nil
}

// DeliverFiltered tells filtered blocks.
func (p *teller) DeliverFiltered(s grpc.BidiStreamingServer[common.Envelope, peer.DeliverResponse]) error {
	if p.filtered == nil {
		return p.UnimplementedDeliverServer.DeliverFiltered(s)
	}
	next, err := seek(s)
	if err != nil {
		return err
	}
	p.filtered(int(p.streams.Add(1)), next, func(b *peer.FilteredBlock) bool {
		return telling(s, b == nil, &peer.DeliverResponse{Type: &peer.DeliverResponse_FilteredBlock{FilteredBlock: b}})
	})
	return nil
}

// seek reads from which block on a stream is asked for.
func seek(s grpc.BidiStreamingServer[common.Envelope, peer.DeliverResponse]) (next uint64, err error) {
	e, err := s.Recv()
	if err != nil {
		return 0, err
	}
	var payload common.Payload
	var seek ab.SeekInfo
	err = unmarshalAll(e.GetPayload(), &payload, func() []byte { return payload.GetData() }, &seek)
	return seek.GetStart().GetSpecified().GetNumber(), err
}

// telling sends one block, or is silent until nobody listens any more.
func telling(s grpc.BidiStreamingServer[common.Envelope, peer.DeliverResponse], silent bool, b *peer.DeliverResponse) bool {
	if silent {
		<-s.Context().Done()
		return false
	}
	return s.Send(b) == nil
}

// listening is a client of peers like that. The first is of the own organisation.
func listening(t *testing.T, tellers ...*teller) *Client {
	t.Helper()
	c := &Client{profile: &Profile{MSP: "Own", Organisations: len(tellers), Channel: "torrente", Chaincode: "torrente"}, patience: defaultPatience}
	c.closed, c.close = context.WithCancel(t.Context())
	c.slots = make(chan struct{}, maxInFlight)
	t.Cleanup(func() { _ = c.Close() })
	for i, p := range tellers {
		p.t = t
		s := grpc.NewServer()
		gatewaypb.RegisterGatewayServer(s, p)
		peer.RegisterDeliverServer(s, p)
		l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		go func() { _ = s.Serve(l) }() // until it is stopped
		t.Cleanup(s.Stop)
		g := &gateway{address: l.Addr().String(), msp: []string{"Own", "A", "B"}[i], own: i == 0}
		g.conn = must[*grpc.ClientConn](t)(grpc.NewClient(g.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy()))
		g.client = must[*client.Gateway](t)(client.Connect(anybody{}, client.WithSign(func([]byte) ([]byte, error) { return []byte("signature"), nil }),
			client.WithHash(hash.SHA256), client.WithClientConnection(g.conn)))
		g.network = g.client.GetNetwork("torrente")
		g.contract, g.systemQry = g.network.GetContract("torrente"), g.network.GetContract("qscc")
		g.commits.gateway = g
		c.gateways = append(c.gateways, g)
	}
	return c
}

// anybody is an identity that nobody here checks.
type anybody struct{}

func (anybody) MspID() string       { return "Own" }
func (anybody) Credentials() []byte { return []byte("certificate") }

func emptyBlock(t *testing.T, number uint64) *common.Block {
	return blockOf(number, []byte{0}, wrap(t, common.HeaderType_CONFIG, nil))
}

// When the own peer's stream broke all are read, until it tells of a block
// again: from then on it alone is.
func TestTheOwnStreamIsReturnedTo(t *testing.T) {
	const last = 6
	own := &teller{last: last, deliver: func(stream int, next uint64, tell func(*common.Block) bool) {
		for n := next; n <= last && tell(emptyBlock(t, n)); n++ {
			if stream == 1 { // which breaks after its first block
				return
			}
		}
		tell(nil)
	}}
	other := &teller{last: last, deliver: func(_ int, _ uint64, tell func(*common.Block) bool) { tell(nil) }}
	c := listening(t, own, other)
	for b, err := range c.Events(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Height == last {
			break
		}
	}
	if own.streams.Load() != 3 || other.streams.Load() > 1 {
		t.Errorf("%d streams of the own peer, %d of the other", own.streams.Load(), other.streams.Load())
	}
}

// Verify asks the next peer when one is silent or breaks off, and lets go of the
// streams that it ends.
func TestVerifyAsksTheNext(t *testing.T) {
	e := newEndorsers(t)
	blocks := chained(t, envelopeOf(t, e.begin(), nil), envelopeOf(t, e.submit(e.transfer(e.members.Rich, 300)), nil))
	all := func(_ int, _ uint64, tell func(*common.Block) bool) {
		for i := 0; i < len(blocks) && tell(blocks[i]); i++ {
		}
		tell(blocks[0]) // which nobody takes
		tell(nil)
	}
	silent := func(_ int, _ uint64, tell func(*common.Block) bool) { tell(blocks[0]); tell(nil) }
	breaks := func(_ int, _ uint64, tell func(*common.Block) bool) { tell(blocks[0]) }
	c := listening(t, &teller{last: 2, deliver: silent}, &teller{last: 2, deliver: breaks}, &teller{last: 2, deliver: all})
	c.patience, c.profile.Ledger = 200*time.Millisecond, e.ledger
	if r, err := c.Verify(t.Context()); err != nil || r.Height != 2 || r.Transactions != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	alone := listening(t, &teller{last: 2, deliver: breaks})
	if _, err := alone.Verify(t.Context()); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	blocks[1].Header.DataHash = nil
	liar := listening(t, &teller{last: 2, deliver: all})
	if _, err := liar.Verify(t.Context()); !errors.Is(err, ledger.ErrDamaged) {
		t.Error(err)
	}
}

// until asks again and again until something is so.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !so() {
		select {
		case <-every.C:
		case <-ctx.Done():
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
