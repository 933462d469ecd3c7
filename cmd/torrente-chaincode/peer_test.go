package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
)

// endorser is the peer's end of a stream to a chaincode that runs as a service:
// it speaks the protocol of fabric-protos' chaincode_shim.proto, shows the
// chaincode the state as it was committed, and notes what it reads and writes.
type endorser struct {
	t      *testing.T
	stream peer.Chaincode_ConnectClient
	state  map[string][]byte
	open   map[string][]*queryresult.KV // iterators
	serial int
	// needless counts iterators that were closed when the peer had done that.
	needless int
	set      set
}

// set is what Fabric orders of a transaction: what it read and what it wrote.
type set struct {
	Reads  []string
	Ranges []string
	Writes map[string]string // "" is a delete
	Event  string
	Answer string
	Status int32
	Error  string
}

// serving starts the chaincode as main does, and connects to it as a peer does.
func serving(t *testing.T, c *chaincode) *endorser {
	t.Helper()
	pki := newPKI(t)
	env := pki.environment(t, c.ledger)
	s, err := readSettings(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.server(c).Start() }() // it has no end but the process's
	e := &endorser{t: t, state: map[string][]byte{}, open: map[string][]*queryresult.KV{}}
	e.stream = connect(t, s.address, pki.client(t))
	e.register(s.id)
	return e
}

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func connect(t *testing.T, address string, config *tls.Config) peer.Chaincode_ConnectClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	stream, err := peer.NewChaincodeClient(conn).Connect(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// register is the peer's part of the greeting.
func (e *endorser) register(id string) {
	e.t.Helper()
	m := e.receive()
	name := new(peer.ChaincodeID)
	if err := proto.Unmarshal(m.Payload, name); err != nil || m.Type != peer.ChaincodeMessage_REGISTER || name.Name != id {
		e.t.Fatalf("%v of %q, %v", m.Type, name.Name, err)
	}
	e.send(peer.ChaincodeMessage_REGISTERED, "", nil)
	e.send(peer.ChaincodeMessage_READY, "", &peer.ChaincodeAdditionalParams{
		UseWriteBatch: true, MaxSizeWriteBatch: 100, UseGetMultipleKeys: true, MaxSizeGetMultipleKeys: 100,
	})
}

func (e *endorser) receive() *peer.ChaincodeMessage {
	e.t.Helper()
	m, err := e.stream.Recv()
	if err != nil {
		e.t.Fatal(err)
	}
	return m
}

func (e *endorser) send(kind peer.ChaincodeMessage_Type, tx string, body proto.Message) {
	e.t.Helper()
	m := &peer.ChaincodeMessage{Type: kind, Txid: tx, ChannelId: "torrente"}
	if body != nil {
		var err error
		if m.Payload, err = proto.Marshal(body); err != nil {
			e.t.Fatal(err)
		}
	}
	if err := e.stream.Send(m); err != nil {
		e.t.Fatal(err)
	}
}

// invoke has the chaincode execute one call under a Fabric transaction id, and
// commits nothing.
func (e *endorser) invoke(tx string, args ...[]byte) set {
	e.t.Helper()
	e.set = set{Writes: map[string]string{}}
	e.send(peer.ChaincodeMessage_TRANSACTION, tx, &peer.ChaincodeInput{Args: args})
	for {
		m := e.receive()
		if m.Type == peer.ChaincodeMessage_COMPLETED {
			return e.completed(m)
		}
		if m.Type == peer.ChaincodeMessage_ERROR {
			e.t.Fatalf("%s", m.Payload)
		}
		e.answer(m)
	}
}

func (e *endorser) completed(m *peer.ChaincodeMessage) set {
	e.t.Helper()
	r := new(peer.Response)
	if err := proto.Unmarshal(m.Payload, r); err != nil {
		e.t.Fatal(err)
	}
	e.set.Status, e.set.Answer, e.set.Error = r.Status, string(r.Payload), r.Message
	if m.ChaincodeEvent != nil {
		e.set.Event = m.ChaincodeEvent.EventName + " " + string(m.ChaincodeEvent.Payload)
	}
	if len(e.open) > 0 {
		e.t.Errorf("%d iterators were left open", len(e.open))
	}
	return e.set
}

// commit makes what a transaction wrote visible.
func (e *endorser) commit(s set) {
	for k, v := range s.Writes {
		if v == "" {
			delete(e.state, k)
		} else {
			e.state[k] = []byte(v)
		}
	}
}

// answer gives the chaincode what it asks for.
func (e *endorser) answer(m *peer.ChaincodeMessage) {
	e.t.Helper()
	switch m.Type {
	case peer.ChaincodeMessage_GET_STATE:
		q := asked(e, m, new(peer.GetState))
		e.respond(m, e.read(q.Key))
	case peer.ChaincodeMessage_GET_STATE_MULTIPLE:
		all := new(peer.GetStateMultipleResult)
		for _, key := range asked(e, m, new(peer.GetStateMultiple)).Keys {
			all.Values = append(all.Values, e.read(key))
		}
		e.respondWith(m, all)
	case peer.ChaincodeMessage_WRITE_BATCH_STATE:
		for _, w := range asked(e, m, new(peer.WriteBatchState)).Rec {
			e.write(w)
		}
		e.respond(m, nil)
	case peer.ChaincodeMessage_GET_STATE_BY_RANGE:
		e.respondWith(m, e.startRange(asked(e, m, new(peer.GetStateByRange))))
	case peer.ChaincodeMessage_QUERY_STATE_NEXT:
		e.respondWith(m, e.batch(asked(e, m, new(peer.QueryStateNext)).Id))
	case peer.ChaincodeMessage_QUERY_STATE_CLOSE:
		id := asked(e, m, new(peer.QueryStateClose)).Id
		if _, open := e.open[id]; !open {
			e.needless++
		}
		delete(e.open, id)
		e.respondWith(m, &peer.QueryResponse{Id: id})
	default:
		e.t.Fatalf("the chaincode asks for %v", m.Type)
	}
}

func asked[M proto.Message](e *endorser, m *peer.ChaincodeMessage, into M) M {
	e.t.Helper()
	if err := proto.Unmarshal(m.Payload, into); err != nil {
		e.t.Fatal(err)
	}
	return into
}

func (e *endorser) respond(m *peer.ChaincodeMessage, payload []byte) {
	e.t.Helper()
	r := &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_RESPONSE, Txid: m.Txid, ChannelId: m.ChannelId, Payload: payload}
	if err := e.stream.Send(r); err != nil {
		e.t.Fatal(err)
	}
}

func (e *endorser) respondWith(m *peer.ChaincodeMessage, body proto.Message) {
	e.t.Helper()
	e.send(peer.ChaincodeMessage_RESPONSE, m.Txid, body)
}

func (e *endorser) read(key string) []byte {
	e.set.Reads = append(e.set.Reads, key)
	return e.state[key]
}

func (e *endorser) write(w *peer.WriteRecord) {
	e.t.Helper()
	switch {
	case w.Type == peer.WriteRecord_DEL_STATE:
		e.set.Writes[w.Key] = ""
	case w.Type == peer.WriteRecord_PUT_STATE && len(w.Value) > 0:
		e.set.Writes[w.Key] = string(w.Value)
	default:
		e.t.Fatalf("%v of %d bytes to %q", w.Type, len(w.Value), w.Key)
	}
}

// startRange opens an iterator, which gives two rows at a time.
func (e *endorser) startRange(q *peer.GetStateByRange) *peer.QueryResponse {
	e.t.Helper()
	page := new(peer.QueryMetadata)
	if err := proto.Unmarshal(q.Metadata, page); err != nil {
		e.t.Fatal(err)
	}
	start := max(q.StartKey, page.Bookmark)
	var rows []*queryresult.KV
	for _, k := range slices.Sorted(maps.Keys(e.state)) {
		if k >= start && k < q.EndKey && (page.PageSize == 0 || len(rows) < int(page.PageSize)) {
			rows = append(rows, &queryresult.KV{Namespace: "torrente", Key: k, Value: e.state[k]})
		}
	}
	e.set.Ranges = append(e.set.Ranges, fmt.Sprintf("%q to %q by %d", start, q.EndKey, page.PageSize))
	e.serial++
	id := fmt.Sprint(e.serial)
	e.open[id] = rows
	r := e.batch(id)
	if len(q.Metadata) > 0 {
		r.Metadata, _ = proto.Marshal(&peer.QueryResponseMetadata{FetchedRecordsCount: int32(len(rows))})
	}
	return r
}

func (e *endorser) batch(id string) *peer.QueryResponse {
	rows := e.open[id]
	n := min(2, len(rows))
	r := &peer.QueryResponse{Id: id, HasMore: len(rows) > n}
	for _, kv := range rows[:n] {
		b, _ := proto.Marshal(kv)
		r.Results = append(r.Results, &peer.QueryResultBytes{ResultBytes: b})
	}
	e.open[id] = rows[n:]
	if !r.HasMore { // as Fabric's query_response_generator.go
		delete(e.open, id)
	}
	return r
}

// writePEM keeps one file of the environment.
func writePEM(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func poolOf(c *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c)
	return p
}
