package federation

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// council makes federations of several organisations, none of them open: the
// first has the ledger.
func council(t *testing.T, names ...string) (all []*place, document []byte) {
	t.Helper()
	dir := t.TempDir()
	cfg := FoundConfig{Name: "Club", Price: 10, Treasury: 1000}
	for _, name := range names {
		p := &place{dir: filepath.Join(dir, name), clock: &testClock{}, stop: func() {}}
		founder := must[*Founder](t)(MakeKeys(InitConfig{
			Dir: p.dir, Name: name, Password: []byte(testPassword), Cost: cheap, Now: p.clock.now(),
		}))
		cfg.Founders = append(cfg.Founders, *founder)
		all = append(all, p)
	}
	document, _, err := Found(cfg)
	if err != nil {
		t.Fatal(err)
	}
	must[*Facts](t)(Join(JoinConfig{Dir: all[0].dir, Genesis: document}))
	return all, document
}

// follow has the others reach the ledger of the first, which is served.
func follow(t *testing.T, all []*place, document []byte) {
	t.Helper()
	all[0].open(t).serve(t)
	for _, p := range all[1:] {
		must[*Facts](t)(Join(JoinConfig{
			Dir: p.dir, Genesis: document, Ledger: all[0].at.Portal, Host: filepath.Base(all[0].dir),
		}))
		p.open(t)
	}
}

// The same founders give the same bytes, in whatever order they come.
func TestFoundIsDeterministic(t *testing.T) {
	_, document := council(t, "A", "B", "C")
	g := must[*contract.Genesis](t)(contract.ParseGenesis(document))
	cfg := FoundConfig{Name: g.Name, Price: g.Price, Treasury: 1000}
	for i, o := range g.Organisations {
		cfg.Founders = append(cfg.Founders, Founder{o.MSP, o.Administrator, g.Created - uint64(i), o.Roots[0]})
	}
	for range 3 {
		cfg.Founders = append(cfg.Founders[1:], cfg.Founders[0])
		again, _, err := Found(cfg)
		if err != nil || !bytes.Equal(again, document) {
			t.Errorf("other bytes, %v", err)
		}
	}
}

func TestJoinIsRefused(t *testing.T) {
	all, document := council(t, "A", "B", "C")
	alone, _ := council(t, "B", "A") // other keys of the same names
	for what, x := range map[string]struct {
		cfg  JoinConfig
		want string
	}{
		"twice":             {JoinConfig{Dir: all[0].dir, Genesis: document}, ErrJoined.Error()},
		"no folder":         {JoinConfig{Dir: t.TempDir(), Genesis: document}, ErrNoFederation.Error()},
		"no genesis":        {JoinConfig{Dir: all[1].dir, Genesis: []byte("x")}, contract.ErrGenesis.Error()},
		"other keys":        {JoinConfig{Dir: alone[1].dir, Genesis: document}, "has other keys of A"},
		"no https":          {JoinConfig{Dir: all[1].dir, Genesis: document, Ledger: "http://x", Host: "A"}, "https"},
		"no such host":      {JoinConfig{Dir: all[1].dir, Genesis: document, Ledger: "https://x", Host: "D"}, "no other organization"},
		"its own host":      {JoinConfig{Dir: all[1].dir, Genesis: document, Ledger: "https://x", Host: "B"}, "no other organization"},
		"a federation's of": {JoinConfig{Dir: initiated(t, nil).dir, Genesis: document}, ErrJoined.Error()},
	} {
		if f, err := Join(x.cfg); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %+v, %v", what, f, err)
		}
	}
	if _, err := Open(t.Context(), all[1].config()); !errors.Is(err, errNotJoined) {
		t.Errorf("keys alone: %v", err)
	}
}

// Three folders vote on one ledger; what they decide is the same for all, and
// counted once.
func TestFoldersVote(t *testing.T) {
	all, document := council(t, "A", "B", "C")
	follow(t, all, document)
	ctx := t.Context()
	p := must[Proposal](t)(all[1].Propose(ctx, ProposeRequest{Kind: contract.DecidePrice, Price: 12}))
	if p.State != ProposalOpen || p.Needed != 2 || p.Organisations != 3 {
		t.Fatalf("%+v", p)
	}
	for range 2 {
		if p = must[Proposal](t)(all[1].Approve(ctx, ApproveRequest{p.ID.String()})); p.State != ProposalOpen {
			t.Fatalf("%+v", p)
		}
	}
	p = must[Proposal](t)(all[2].Approve(ctx, ApproveRequest{p.ID.String()[:10]}))
	if p.State != ProposalPassed || !slices.Equal(p.Approved, []string{"B", "C"}) {
		t.Fatalf("%+v", p)
	}
	seen := must[[]Proposal](t)(all[0].Proposals(ctx, ProposalsRequest{}))
	if len(seen) != 1 || seen[0].State != ProposalPassed || all[0].directory().Price != 12 {
		t.Errorf("%+v, price %s", seen, all[0].directory().Price)
	}
	for _, p := range all { // each has its own treasury
		if got := all[0].balance(t, accountOf(p.administrator())); got != 1000 {
			t.Errorf("%s has %s", p.Name(), got)
		}
	}
	must[Funding](t)(all[2].Fund(ctx, FundRequest{To: payment.Account{7}.String(), Coins: 30}))
	if got := all[0].balance(t, payment.Account{7}); got != 30 {
		t.Errorf("the account has %s", got)
	}
}

// A portal whose ledger is another's enrols its own members, hands on their
// calls, and hears what others decide.
func TestPortalOfAnothersLedger(t *testing.T) {
	all, document := council(t, "A", "B")
	follow(t, all, document)
	a, b := all[0], all[1]
	b.serve(t)
	e := b.enrolled(t, "bob")
	if e.Identity.Principal().MSP != "B" || e.Directory.LedgerID != a.books.ID() {
		t.Errorf("%+v", e)
	}
	must[Funding](t)(b.Fund(t.Context(), FundRequest{To: "bob", Coins: 40}))
	credits := must[contract.Answer](t)(a.books.Query(t.Context(), contract.Query{Kind: contract.QueryCredits, Account: e.Account}))
	sweep := b.signed(t, e.Identity, &contract.Sweep{Credits: []contract.TxID{credits.Credits[0].Tx}})
	if r := must[ledger.Receipt](t)(b.client(t, e.Identity).Submit(t.Context(), sweep)); r.Err() != nil || r.Coins != 40 {
		t.Errorf("%+v", r)
	}
	p := must[Proposal](t)(a.Propose(t.Context(), ProposeRequest{Kind: contract.DecideRevoke, Who: RevokeRequest{Certificate: identity.EncodeCertificates(e.Chain)}}))
	must[Proposal](t)(b.Approve(t.Context(), ApproveRequest{p.ID.String()}))
	if !b.standing().isRevoked(e.Account) || !a.standing().isRevoked(e.Account) {
		t.Error("not everybody heard of it")
	}
	again := must[Proposal](t)(b.Propose(t.Context(), ProposeRequest{Kind: contract.DecidePrice, Price: 11}))
	must[Proposal](t)(a.Approve(t.Context(), ApproveRequest{again.ID.String()}))
	end, tick := time.After(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for b.directory().Price != 11 {
		select {
		case <-end:
			t.Fatal("the price did not come")
		case <-tick.C:
		}
	}
}

func FuzzParseFounder(f *testing.F) {
	b, err := json.Marshal(Founder{"A", payment.Account{1}, 5, []byte{0x30}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		founder, err := ParseFounder(b)
		if err != nil {
			return
		}
		if document, _, err := Found(FoundConfig{Name: "x", Founders: []Founder{*founder}}); err == nil {
			if _, err := contract.ParseGenesis(document); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Where the ledger is elsewhere it is said who can verify it.
func TestVerifyElsewhere(t *testing.T) {
	all, document := council(t, "A", "B")
	follow(t, all, document)
	_, err := VerifyLedger(t.Context(), all[1].dir)
	if err == nil || !strings.Contains(err.Error(), all[0].at.Portal) || !strings.Contains(err.Error(), "have A verify it") {
		t.Error(err)
	}
}

// A whole id is asked for alone, however many proposals there are.
func TestProposalByItsID(t *testing.T) {
	p := opened(t)
	made := must[Proposal](t)(p.Propose(t.Context(), ProposeRequest{Kind: contract.DecidePrice, Price: 12}))
	p.ledger = &faulty{shared: p.books, query: func(q contract.Query) error {
		if q.Kind == contract.QueryProposals {
			return errEndless
		}
		return nil
	}}
	one := must[[]Proposal](t)(p.Proposals(t.Context(), ProposalsRequest{strings.ToUpper(made.ID.String())}))
	if len(one) != 1 || one[0].ID != made.ID {
		t.Errorf("%+v", one)
	}
	if _, err := p.Approve(t.Context(), ApproveRequest{strings.Repeat("0", 64)}); !errors.Is(err, contract.NoProposal) {
		t.Error(err)
	}
}

// Who comes late finds the host by the roots that it has by then.
func TestJoinTakesHostRoots(t *testing.T) {
	all, document := council(t, "Alpha", "Beta")
	a := must[*identity.Authority](t)(identity.NewAuthority("Alpha", all[0].clock.now(), 24*time.Hour))
	roots := identity.EncodeCertificates([]*x509.Certificate{a.Root()})
	join := JoinConfig{Dir: all[1].dir, Genesis: document, Ledger: "https://127.0.0.1:1", Host: "Alpha", HostRoots: []byte("no certificate")}
	if _, err := Join(join); !errors.Is(err, errHostRoots) || exists(filepath.Join(all[1].dir, genesisFile)) {
		t.Errorf("joined with what is no certificate: %v", err)
	}
	join.HostRoots = roots
	must[*Facts](t)(Join(join))
	if kept := must[[]byte](t)(readBounded(filepath.Join(all[1].dir, hostRootsFile))); !bytes.Equal(kept, roots) {
		t.Errorf("%q", kept)
	}
}
