//go:build fabric

package fabric

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
)

// The methods of a peer that are lied about.
const (
	evaluates = "/gateway.Gateway/Evaluate"
	endorses  = "/gateway.Gateway/Endorse"
	submits   = "/gateway.Gateway/Submit"
	statuses  = "/gateway.Gateway/CommitStatus"
	delivers  = "/protos.Deliver/Deliver"
)

// liar is an organisation that lies: it stands in front of its own real peer,
// with that peer's certificate, and changes what the peer says.
type liar struct {
	// withhold answers in place of the peer, which hears nothing of it.
	withhold map[string][]byte
	// change returns what is said instead of an answer, by method.
	change map[string]func(answer []byte) []byte
	peer   *grpc.ClientConn
}

// lying puts a liar into a profile in place of an organisation's gateway, as the
// first one. Its peer's own files are used.
func (n *realNetwork) lying(t *testing.T, p *Profile, msp, organisation string, l *liar) {
	t.Helper()
	var at Gateway
	for i, g := range p.Gateways {
		if g.MSP == msp {
			at = g
			p.Gateways = append(p.Gateways[:i:i], p.Gateways[i+1:]...)
			break
		}
	}
	files := n.tls(organisation)
	own := must[tls.Certificate](t)(tls.LoadX509KeyPair(filepath.Join(files, "server.crt"), filepath.Join(files, "server.key")))
	to := must[credentials.TransportCredentials](t)(credentials.NewClientTLSFromFile(at.CA, ""))
	l.peer = must[*grpc.ClientConn](t)(grpc.NewClient(at.Address, grpc.WithTransportCredentials(to), grpc.WithNoProxy()))
	s := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&own)), grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(l.handle))
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	go func() { _ = s.Serve(listener) }() // until it is stopped
	t.Cleanup(func() { s.Stop(); _ = l.peer.Close() })
	at.Address = listener.Addr().String()
	p.Gateways = append([]Gateway{at}, p.Gateways...)
}

// handle hands on one call, either way.
func (l *liar) handle(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	if answer, lie := l.withhold[method]; lie {
		var request []byte
		if err := in.RecvMsg(&request); err != nil {
			return err
		}
		return in.SendMsg(&answer)
	}
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	out, err := l.peer.NewStream(in.Context(), both, method, grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return err
	}
	go func() {
		for {
			var request []byte
			if in.RecvMsg(&request) != nil {
				_ = out.CloseSend()
				return
			}
			_ = out.SendMsg(&request) // RecvMsg below says why it failed
		}
	}()
	for {
		var answer []byte
		if err := out.RecvMsg(&answer); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err // with the peer's status
		}
		if change := l.change[method]; change != nil {
			answer = change(answer)
		}
		if err := in.SendMsg(&answer); err != nil {
			return err
		}
	}
}

// raw hands on messages as they are.
type raw struct{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (raw) Name() string { return "raw" }
