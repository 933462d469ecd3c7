//go:build fabric

package fabric

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"torrente/identity"
	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric/invocation"
	"torrente/payment/ledger/ledgertest"
)

// attacks tries to write to the ledger what may not be there. Each is refused,
// and moves no coin.
func attacks(t *testing.T, n *realNetwork, m *members) {
	for _, one := range []struct {
		what string
		try  func(t *testing.T, n *realNetwork, m *members)
	}{
		{"a Fabric identity of no member", ofNoMember},
		{"a revoked Fabric identity", revokedIdentity},
		{"a creator of no member", creatorOfNoMember},
		{"a revoked account", revokedAccount},
		{"a transaction ten minutes off", tenMinutesOff},
		{"a proposal ten minutes off", proposalTenMinutesOff},
		{"a replayed proposal", replayed},
		{"calls that write nothing", orderedForNothing},
		{"one organisation's endorsement", endorsedByOne},
		{"a tampered chaincode's endorsement", endorsedByTampered},
	} {
		t.Run(one.what, func(t *testing.T) {
			c := n.client(t, "gamma")
			before := available(t, c, m.Poor)
			one.try(t, n, m)
			succeeds(t, c, m.payers["gamma"], &contract.Transfer{To: ledgertest.AccountOf(m.Poor), Coins: 5}) // all is well
			if got := available(t, c, m.Poor); got != before+5 {
				t.Errorf("%s coins, and there were %s", got, before)
			}
			m.conserved(t, c)
		})
	}
}

// ofNoMember submits as a Fabric identity that an authority issued whom the
// channel does not know, under a member's name.
func ofNoMember(t *testing.T, n *realNetwork, m *members) {
	p := n.profile(t, "alpha")
	issueTo(t, p, nil, nil)
	isStranger(t, connect(t, p), m)
}

// issueTo gives a profile a Fabric identity by an authority, or by nobody.
func issueTo(t *testing.T, p *Profile, root *x509.Certificate, by any) {
	t.Helper()
	dir := t.TempDir()
	p.Certificate, p.Key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "client", OrganizationalUnit: []string{"client"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if root == nil {
		root, by = template, key
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, root, &key.PublicKey, by))
	pkcs8 := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
	for path, block := range map[string]*pem.Block{p.Certificate: {Type: "CERTIFICATE", Bytes: der}, p.Key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// isStranger has everything refused, at once and with the reason.
func isStranger(t *testing.T, c *Client, m *members) {
	t.Helper()
	began := time.Now()
	r, err := c.Submit(t.Context(), transfer(t, c, m.payers["alpha"], m.Poor))
	if !errors.Is(err, ErrIdentity) {
		t.Errorf("Submit: %+v, %v", r, err)
	}
	t.Log(err)
	a, err := c.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})
	if !errors.Is(err, ErrIdentity) {
		t.Errorf("Query: %+v, %v", a, err)
	}
	if took := time.Since(began); took > c.patience/2 {
		t.Errorf("that took %s", took)
	}
}

// creatorOfNoMember signs with a certificate of an authority of the same name.
func creatorOfNoMember(t *testing.T, n *realNetwork, m *members) {
	other := must[*identity.Authority](t)(identity.NewAuthority("Alpha", time.Now().Add(-time.Hour), 24*time.Hour))
	c := n.client(t, "alpha")
	if r, err := c.Submit(t.Context(), transfer(t, c, ledgertest.Enroll(t, other, "rich", time.Now()), m.Poor)); !errors.Is(err, identity.ErrOtherFederation) {
		t.Errorf("%+v, %v", r, err)
	}
}

// revokedAccount is one that the organisation's administrator revoked.
func revokedAccount(t *testing.T, n *realNetwork, m *members) {
	c := n.client(t, "alpha")
	thief := ledgertest.Enroll(t, m.Authority, "thief", time.Now())
	m.others = append(m.others, ledgertest.AccountOf(thief))
	paid := succeeds(t, c, m.payers["alpha"], &contract.Transfer{To: ledgertest.AccountOf(thief), Coins: 3})
	succeeds(t, c, m.Admin, &contract.Revoke{MSP: thief.Principal().MSP, SPKI: thief.Principal().SPKI})
	succeeds(t, c, thief, &contract.Sweep{Credits: []contract.TxID{paid.Tx}}) // what it has stays its own
	if r := must[ledger.Receipt](t)(c.Submit(t.Context(), transfer(t, c, thief, m.Poor))); r.Code != contract.Revoked {
		t.Errorf("%+v", r)
	}
}

// tenMinutesOff signs a transaction whose own time is wrong.
func tenMinutesOff(t *testing.T, n *realNetwork, m *members) {
	c := n.client(t, "alpha")
	for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		tx := &contract.Transaction{
			Ledger: c.ID(), Time: uint64(time.Now().Add(off).Unix()), Args: &contract.Transfer{To: ledgertest.AccountOf(m.Poor), Coins: 1},
		}
		_, _ = rand.Read(tx.Request[:]) // which never fails
		payer := m.payers["alpha"]
		s := must[*contract.Signed](t)(contract.Sign(payer.Key(), payer.Chain(), tx))
		r, err := c.Submit(t.Context(), s)
		if _, ok := errors.AsType[*admission.ClockOff](err); !ok {
			t.Errorf("%s: %+v, %v", off, r, err)
		}
	}
}

// proposal is one of a good transfer, by Fabric's own client, that some
// organisations shall endorse.
func proposal(t *testing.T, c *Client, m *members, organisations ...string) *client.Proposal {
	t.Helper()
	s := transfer(t, c, m.payers["alpha"], m.Rich)
	return must[*client.Proposal](t)(c.gateways[0].contract.NewProposal(invocation.Submit, client.WithBytesArguments(s.Append(nil)), client.WithEndorsingOrganizations(organisations...)))
}

// proposalTenMinutesOff builds a proposal by hand: Fabric's client stamps its
// own with the time.
func proposalTenMinutesOff(t *testing.T, n *realNetwork, m *members) {
	c := n.client(t, "alpha")
	for _, off := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
		_, err := stamped(t, c, m, off).EndorseWithContext(t.Context())
		if (err == nil) != (off == 0) {
			t.Errorf("%s: %v", off, err)
		}
		if off == 0 {
			continue
		}
		if _, ok := errors.AsType[*admission.ClockOff](refusalOf(err, "Alpha")); !ok {
			t.Errorf("that is no refusal by the clock: %v", err)
		}
	}
}

func stamped(t *testing.T, c *Client, m *members, off time.Duration) *client.Proposal {
	t.Helper()
	var proposed gatewaypb.ProposedTransaction
	var inner peer.Proposal
	var header common.Header
	var channel common.ChannelHeader
	parseAll(t, must[[]byte](t)(proposal(t, c, m).Bytes()), &proposed)
	parseAll(t, proposed.GetProposal().GetProposalBytes(), &inner)
	parseAll(t, inner.GetHeader(), &header)
	parseAll(t, header.GetChannelHeader(), &channel)
	channel.Timestamp = timestamppb.New(time.Now().Add(off))
	header.ChannelHeader = bytesOf(t, &channel)
	inner.Header = bytesOf(t, &header)
	proposed.Proposal.ProposalBytes = bytesOf(t, &inner)
	digest := sha256.Sum256(proposed.Proposal.ProposalBytes)
	proposed.Proposal.Signature = must[[]byte](t)(c.who.sign(digest[:]))
	return must[*client.Proposal](t)(c.gateways[0].client.NewSignedProposal(bytesOf(t, &proposed), proposed.Proposal.Signature))
}

func parseAll(t *testing.T, b []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
}

// replayed sends what was committed once more: the proposal, and the transaction.
func replayed(t *testing.T, n *realNetwork, m *members) {
	c := n.client(t, "alpha")
	p := proposal(t, c, m)
	before := available(t, c, m.Rich)
	tx := must[*client.Transaction](t)(p.EndorseWithContext(t.Context()))
	height := must[uint64](t)(c.sendAndAsk(t.Context(), tx))
	if _, err := p.EndorseWithContext(t.Context()); err == nil {
		t.Error("the proposal was endorsed once more")
	} else {
		t.Log(err)
	}
	again := must[*client.Transaction](t)(c.gateways[1].client.NewTransaction(must[[]byte](t)(tx.Bytes())))
	if got, err := c.sendAndAsk(t.Context(), again); err != nil || got != height {
		t.Errorf("the transaction of block %d is in block %d: %v", height, got, err)
	}
	succeeds(t, c, m.payers["alpha"], &contract.Transfer{To: ledgertest.AccountOf(m.Rich), Coins: 1}) // another block
	if got := available(t, c, m.Rich); got != before+2 {
		t.Errorf("%s coins came of 2", got-before)
	}
}

// orderedForNothing has a query ordered, a refusal, and a transaction that was
// executed before, all of which honest organisations endorse. Who verifies the
// ledger passes over them.
func orderedForNothing(t *testing.T, n *realNetwork, m *members) {
	c := n.client(t, "alpha")
	before := must[ledger.Report](t)(c.Verify(t.Context()))
	done := transfer(t, c, m.payers["alpha"], m.Rich)
	must[ledger.Receipt](t)(c.Submit(t.Context(), done))
	refusal := sign(t, c, m.payers["alpha"], &contract.Transfer{To: ledgertest.AccountOf(m.Rich), Coins: 1 << 40})
	for _, call := range []struct {
		function string
		argument []byte
	}{
		{invocation.Query, []byte(`{"kind":"` + string(contract.QueryLedger) + `"}`)},
		{invocation.Submit, refusal.Append(nil)},
		{invocation.Submit, done.Append(nil)},
	} {
		p := must[*client.Proposal](t)(c.gateways[0].contract.NewProposal(call.function, client.WithBytesArguments(call.argument)))
		tx := must[*client.Transaction](t)(p.EndorseWithContext(t.Context()))
		must[uint64](t)(c.sendAndAsk(t.Context(), tx)) // so it is valid
	}
	r := must[ledger.Report](t)(c.Verify(t.Context()))
	if r.Transactions != before.Transactions+1 || r.Height != before.Height+4 || !r.Conserved {
		t.Errorf("%+v, and before %+v", r, before)
	}
	other := n.client(t, "gamma")
	until(t, "Gamma's peer has all blocks", func() bool {
		of := must[ledger.Report](t)(other.Verify(t.Context()))
		if of.Height == r.Height && of != r {
			t.Errorf("%+v, and of Gamma's peer %+v", r, of)
		}
		return of.Height >= r.Height
	})
}

// endorsedByOne has one organisation's endorsement ordered.
func endorsedByOne(t *testing.T, n *realNetwork, m *members) {
	c := n.client(t, "alpha")
	tx := must[*client.Transaction](t)(proposal(t, c, m, "Alpha").EndorseWithContext(t.Context()))
	isInvalid(t, tx)
}

func isInvalid(t *testing.T, tx *client.Transaction) {
	t.Helper()
	commit := must[*client.Commit](t)(tx.SubmitWithContext(t.Context()))
	status := must[*client.Status](t)(commit.StatusWithContext(t.Context()))
	if status.Code != peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE {
		t.Errorf("%v", status.Code)
	}
}

// endorsedByTampered has the chaincode of one organisation come to another
// result than the others'.
func endorsedByTampered(t *testing.T, n *realNetwork, m *members) {
	n.replaceChaincode(t, "alpha", n.tampered(t))
	c := n.client(t, "alpha")
	until(t, "the peer uses the tampered chaincode", func() bool {
		_, err := proposal(t, c, m, "Alpha").EndorseWithContext(t.Context())
		return err == nil
	})
	isInvalid(t, must[*client.Transaction](t)(proposal(t, c, m, "Alpha").EndorseWithContext(t.Context())))
	_, err := proposal(t, c, m, "Alpha", "Beta").EndorseWithContext(t.Context())
	if err == nil {
		t.Error("two organisations endorsed that come to different results")
	}
	t.Log(err)
	n.kill(t, "chaincode-alpha")
	n.run(t, "up")
}

// revokedIdentity submits as a Fabric identity that its organisation issued, and
// then revoked.
func revokedIdentity(t *testing.T, n *realNetwork, m *members) {
	p := n.profile(t, "alpha")
	ca := filepath.Join(n.dir, "organisations", "alpha", "ca")
	root := must[*x509.Certificate](t)(x509.ParseCertificate(readPEM(t, filepath.Join(ca, "ca.pem"))))
	key := must[any](t)(x509.ParsePKCS8PrivateKey(readPEM(t, filepath.Join(ca, "ca.key"))))
	issueTo(t, p, root, key)
	c := connect(t, p)
	succeeds(t, c, m.payers["alpha"], &contract.Transfer{To: ledgertest.AccountOf(m.Rich), Coins: 1})
	n.run(t, "revoke", "--org", "Alpha", "--certificate", p.Certificate)
	// A peer refuses when it has the block of the new configuration.
	until(t, "the certificate is refused", func() bool {
		_, err := c.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})
		return errors.Is(err, ErrIdentity)
	})
	isStranger(t, c, m)
}

func readPEM(t *testing.T, path string) []byte {
	t.Helper()
	block, _ := pem.Decode(must[[]byte](t)(os.ReadFile(path)))
	return block.Bytes
}
