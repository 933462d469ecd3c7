package fabric

import (
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// errBehind means that a peer lacks blocks that this client has told of.
var errBehind = errors.New("the peer is behind the others")

// height returns the last block's number on a peer of the gateway's organisation. The
// error is errBehind if it is lower than what was told before.
func (c *Client) height(ctx context.Context, g *gateway) (uint64, error) {
	b, err := g.evaluate(ctx, g.systemQry, "GetChainInfo", []byte(c.profile.Channel))
	if err != nil {
		return 0, err
	}
	info := new(common.BlockchainInfo)
	if err := proto.Unmarshal(b, info); err != nil || info.GetHeight() == 0 {
		return 0, fmt.Errorf("the peer's answer about its chain cannot be read: %w", err)
	}
	last := info.GetHeight() - 1 // Fabric counts the blocks, from number 0 on
	if last < c.seen.Load() {
		return 0, errBehind
	}
	return last, nil
}

// heightOf returns the block of a committed Fabric transaction. It waits for a
// peer that is behind.
func (c *Client) heightOf(ctx context.Context, g *gateway, fabricID string) (uint64, error) {
	who, err := proto.Marshal(&msp.SerializedIdentity{Mspid: c.who.id.MspID(), IdBytes: c.who.id.Credentials()})
	if err != nil {
		return 0, err
	}
	request, err := proto.Marshal(&gatewaypb.CommitStatusRequest{TransactionId: fabricID, ChannelId: c.profile.Channel, Identity: who})
	if err != nil {
		return 0, err
	}
	signed, err := proto.Marshal(&gatewaypb.SignedCommitStatusRequest{Request: request})
	if err != nil {
		return 0, err
	}
	commit, err := g.client.NewCommit(signed)
	if err != nil {
		return 0, err
	}
	return c.statusOf(ctx, commit)
}
