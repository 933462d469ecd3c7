//go:build fabric

package fabric

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/ledgertest"
)

// TestRealNetwork runs everything that needs a real network on one: what every
// Ledger promises, then what goes wrong.
func TestRealNetwork(t *testing.T) {
	m := ledgertest.NewMembers(t, "Alpha", time.Now())
	n := newNetwork(t, m.Genesis)
	t.Run("conforms", func(t *testing.T) { conforms(t, n, m) })
	funded := fund(t, n, m)
	if !t.Run("faults", func(t *testing.T) { faults(t, n, funded) }) || !t.Run("attacks", func(t *testing.T) { attacks(t, n, funded) }) {
		return
	}
	if !t.Run("an organisation joins", func(t *testing.T) { joins(t, n, m) }) {
		return
	}
	t.Run("a peer lies", func(t *testing.T) { lies(t, n, m) })
	t.Run("certificates are renewed", func(t *testing.T) { renews(t, n, funded) })
	t.Run("the chaincode is upgraded", func(t *testing.T) { upgrades(t, n, funded) })
	t.Run("an orderer is rotated", func(t *testing.T) { rotates(t, n, funded) })
}

func conforms(t *testing.T, n *realNetwork, m *ledgertest.Members) {
	c := n.client(t, "alpha")
	ledgertest.Run(t, func(*testing.T) *ledgertest.Fixture {
		return &ledgertest.Fixture{
			Ledger: c, Rich: m.Rich, Poor: m.Poor, Now: time.Now,
			Restart: func(sub *testing.T) ledger.Ledger {
				if err := c.Close(); err != nil {
					sub.Error(err)
				}
				n.run(sub, "down")
				n.run(sub, "up")
				c = n.client(t, "alpha")
				return c
			},
		}
	})
}

// joins interrupts an organisation's joining twice, before the channel has
// admitted it and after, and gives the command once more each time.
func joins(t *testing.T, n *realNetwork, m *ledgertest.Members) {
	const deltasPeer = basePort + 500 + 20*3
	for i := range 2 { // so that nothing is ordered
		n.kill(t, orderer(i))
	}
	half := n.start(t, "add-org", "--org", "Delta")
	ended := sync.OnceValue(func() error {
		_ = half.Process.Kill() // it may have ended
		return half.Wait()
	})
	t.Cleanup(func() { _ = ended() }) // if this fails before
	until(t, "Delta asks to be admitted", func() bool {
		_, err := os.Stat(filepath.Join(n.dir, "channel", "delta"))
		return err == nil
	})
	if err := ended(); err == nil {
		t.Fatal("Delta was admitted without orderers")
	}
	n.run(t, "up")
	n.kill(t, "peer-delta")
	stranger := occupy(t, deltasPeer)
	t.Cleanup(func() { _ = stranger.Close() })
	if err := n.try("add-org", "--org", "Delta"); err == nil {
		t.Fatal("Delta's peer joined by another's port")
	}
	if err := n.try("add-org", "--org", "Epsilon"); err == nil {
		t.Fatal("Epsilon joins while Delta is half in")
	}
	_ = stranger.Close() // only now can the peer start
	n.run(t, "add-org", "--org", "Delta")
	late := n.client(t, "delta")
	r := must[ledger.Receipt](t)(late.Submit(t.Context(), transfer(t, late, m.Rich, m.Poor)))
	if r.Code != contract.OK || available(t, late, m.Poor) != available(t, n.client(t, "beta"), m.Poor) {
		t.Errorf("%+v", r)
	}
	n.kill(t, "peer-gamma") // three of four are a majority, Delta among them
	if r := must[ledger.Receipt](t)(late.Submit(t.Context(), transfer(t, late, m.Rich, m.Poor))); r.Code != contract.OK {
		t.Errorf("%+v", r)
	}
	n.run(t, "up")
	admits(t, late, m)
}

// admits makes Delta, whose peer has joined the channel, a member of the federation:
// its authority certifies accounts and its administrator votes from then on.
func admits(t *testing.T, c *Client, m *ledgertest.Members) {
	now := time.Now()
	a := must[*identity.Authority](t)(identity.NewAuthority("Delta", now.Add(-time.Hour), 365*24*time.Hour))
	admin, member := ledgertest.Enroll(t, a, "admin", now), ledgertest.Enroll(t, a, "member", now)
	delegate := &contract.SetDelegate{Delegate: ledgertest.AccountOf(admin)}
	if _, err := c.Submit(t.Context(), sign(t, c, member, delegate)); !errors.Is(err, identity.ErrOtherFederation) {
		t.Errorf("before: %v", err)
	}
	succeeds(t, c, m.Admin, &contract.Propose{Decision: &contract.Admit{Organisation: contract.Organisation{
		MSP: "Delta", Administrator: ledgertest.AccountOf(admin), Roots: [][]byte{a.Root().Raw},
	}}})
	succeeds(t, c, member, delegate)
	before := available(t, c, m.Poor)
	r := succeeds(t, c, admin, &contract.Propose{Decision: &contract.Mint{Account: ledgertest.AccountOf(m.Poor), Coins: 1}})
	if got := available(t, c, m.Poor); got != before {
		t.Errorf("Delta alone mints: %s coins, and before %s", got, before)
	}
	succeeds(t, c, m.Admin, &contract.Approve{Proposal: r.Tx})
	if got := available(t, c, m.Poor); got != before+1 {
		t.Errorf("Delta's vote does not count: %s coins, and before %s", got, before)
	}
}

// transfer is a new one of a coin.
func transfer(t testing.TB, c *Client, from, to *identity.Identity) *contract.Signed {
	t.Helper()
	return sign(t, c, from, &contract.Transfer{To: ledgertest.AccountOf(to), Coins: 1})
}

func sign(t testing.TB, c *Client, who *identity.Identity, args contract.Arguments) *contract.Signed {
	t.Helper()
	tx := &contract.Transaction{Ledger: c.ID(), Time: uint64(time.Now().Unix()), Args: args}
	_, _ = rand.Read(tx.Request[:]) // which never fails
	return must[*contract.Signed](t)(contract.Sign(who.Key(), who.Chain(), tx))
}

func accountOf(t testing.TB, c *Client, who *identity.Identity) *contract.AccountInfo {
	t.Helper()
	q := contract.Query{Kind: contract.QueryAccount, Account: ledgertest.AccountOf(who)}
	return must[contract.Answer](t)(c.Query(t.Context(), q)).Account
}

func available(t testing.TB, c *Client, who *identity.Identity) payment.Amount {
	t.Helper()
	return accountOf(t, c, who).Available
}

// upgrades puts a new chaincode in place of the one that runs while all transact.
// The command is interrupted once, when the first of the new services runs.
func upgrades(t *testing.T, n *realNetwork, m *members) {
	l := m.begin(t, n)
	half := n.start(t, "upgrade")
	ended := sync.OnceValue(func() error {
		_ = half.Process.Kill() // it may have ended
		return half.Wait()
	})
	t.Cleanup(func() { _ = ended() }) // if this fails before
	until(t, "a new service runs", func() bool {
		_, err := os.Stat(filepath.Join(n.dir, "pids", "chaincode-alpha-2"))
		return err == nil
	})
	if err := ended(); err == nil {
		t.Fatal("it was upgraded at once")
	}
	n.run(t, "upgrade")
	l.recovers(t, "the upgrade", time.Now())
	l.finish(t, m)
	for _, organisation := range organisationsOfNetwork {
		name := "chaincode-" + organisation
		if _, err := os.Stat(filepath.Join(n.dir, "pids", name)); err == nil {
			t.Errorf("%s still runs", name)
		}
		program := must[string](t)(os.Readlink(fmt.Sprintf("/proc/%d/exe", n.pid(t, name+"-2"))))
		if filepath.Base(program) != "torrente-chaincode-2" {
			t.Errorf("%s runs %s", name, program)
		}
	}
	n.run(t, "down")
	n.run(t, "up")
	c := n.client(t, "alpha")
	if r := must[ledger.Receipt](t)(c.Submit(t.Context(), transfer(t, c, m.Rich, m.Poor))); r.Code != contract.OK {
		t.Errorf("%+v", r)
	}
	m.conserved(t, c)
}

// renews makes certificates anew while all transact: of the orderers, of which two
// run at any time, and of a member.
func renews(t *testing.T, n *realNetwork, m *members) {
	ports := map[string]int{"orderers/nodes/orderer1": basePort, "orderers/nodes/orderer3": basePort + 40, "beta/nodes/peer": basePort + 520, "beta/nodes/chaincode": basePort + 528}
	before := map[string][]byte{}
	for name, port := range ports {
		before[name] = presented(t, port)
	}
	l := m.begin(t, n)
	n.run(t, "renew", "--org", "Orderers")
	n.run(t, "renew", "--org", "Beta")
	l.recovers(t, "the renewal", time.Now())
	l.finish(t, m)
	for name, port := range ports {
		kept := must[[]byte](t)(os.ReadFile(filepath.Join(n.dir, "organisations", name, "tls", "server.crt")))
		if block, _ := pem.Decode(kept); bytes.Equal(before[name], presented(t, port)) || !bytes.Equal(block.Bytes, presented(t, port)) {
			t.Errorf("%s presents a certificate of before", name)
		}
	}
	if err := n.try("renew", "--org", "Omega"); err == nil {
		t.Error("what is no organisation was renewed")
	}
}

// presented is the certificate with which a process answers at a port.
func presented(t *testing.T, port int) (der []byte) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
		der = chain[0]
		return nil
	}}
	until(t, fmt.Sprintf("port %d answers", port), func() bool {
		c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), config)
		if err == nil {
			_ = c.Close()
		}
		return der != nil
	})
	return der
}
