package fabric

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// maxMessage bounds what a gateway may send at once, in bytes: a block has at
// most 10 MiB of transactions (BatchSize.AbsoluteMaxBytes).
const maxMessage = 32 << 20

// Keepalive finds streams whose peer is gone without a word. A peer takes more
// than one ping a minute for an attack.
const (
	pingAfter   = 90 * time.Second
	pingTimeout = 20 * time.Second
)

// again is how soon a peer that was gone is tried again: gRPC's own two minutes
// would leave one that is back unused.
var again = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}

// gateway is a connection to one peer. It is established when it is used.
type gateway struct {
	address   string
	msp       string
	own       bool // of the submitter's organisation
	conn      *grpc.ClientConn
	client    *client.Gateway
	network   *client.Network
	contract  *client.Contract
	systemQry *client.Contract // qscc, Fabric's own chaincode about blocks
	commits   commits          // used for peers of the own organisation
}

// submitter is the Fabric identity of a profile.
type submitter struct {
	id   *identity.X509Identity
	sign identity.Sign
}

func (p *Profile) submitter() (*submitter, error) {
	certificate, err := p.read(p.Certificate)
	if err != nil {
		return nil, err
	}
	key, err := p.read(p.Key)
	if err != nil {
		return nil, err
	}
	c, err := identity.CertificateFromPEM(certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProfile, p.Certificate, err)
	}
	id, err := identity.NewX509Identity(p.MSP, c)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProfile, p.Certificate, err)
	}
	private, err := identity.PrivateKeyFromPEM(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProfile, p.Key, err)
	}
	sign, err := identity.NewPrivateKeySign(private)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProfile, p.Key, err)
	}
	return &submitter{id, sign}, nil
}

// dial makes the connection to one peer, by TLS whose roots the profile names.
func (p *Profile) dial(at Gateway, who *submitter) (*gateway, error) {
	text, err := p.read(at.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%w: %s holds no certificate", ErrProfile, at.CA)
	}
	secure := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: at.Name})
	conn, err := grpc.NewClient(
		at.Address, grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithNoProxy(), // a proxy of the web would be asked for peers on this machine, too
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: 5 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProfile, at.Address, err)
	}
	g := &gateway{address: at.Address, msp: at.MSP, own: at.MSP == p.MSP, conn: conn}
	g.client, err = client.Connect(who.id, client.WithSign(who.sign), client.WithHash(hash.SHA256), client.WithClientConnection(conn))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: %w", at.Address, err)
	}
	g.network = g.client.GetNetwork(p.Channel)
	g.contract = g.network.GetContract(p.Chaincode)
	g.systemQry = g.network.GetContract("qscc")
	g.commits.gateway = g
	return g, nil
}

// evaluate has a gateway's own organisation execute a function, and nobody else
// in its place: the answer counts as that organisation's word.
func (g *gateway) evaluate(ctx context.Context, of *client.Contract, function string, argument []byte) ([]byte, error) {
	short, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	return of.EvaluateWithContext(short, function, client.WithBytesArguments(argument), client.WithEndorsingOrganizations(g.msp))
}
