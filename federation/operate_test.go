package federation

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"torrente/identity"
	"torrente/internal/control"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

func TestInit(t *testing.T) {
	p := opened(t)
	if p.Name() != "Alpha" || p.balance(t, accountOf(p.administrator())) != 1_000_000 {
		t.Errorf("%s has %s", p.Name(), p.balance(t, accountOf(p.administrator())))
	}
	err := filepath.WalkDir(p.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info := must[os.FileInfo](t)(d.Info())
		if open := info.Mode().Perm() & 0o077; open != 0 && !strings.HasSuffix(path, ".pem") {
			t.Errorf("%s may be read by others: %v", path, info.Mode())
		}
		if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte("PRIVATE KEY")) {
			t.Errorf("%s has a bare private key", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if list := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(p.dir))); len(list) != 1 {
		t.Errorf("the draft is left behind: %v", list)
	}
}

func TestInitIsRefused(t *testing.T) {
	for name, change := range map[string]func(*InitConfig){
		"a name that is none":   func(c *InitConfig) { c.Name = "A/B" },
		"no name":               func(c *InitConfig) { c.Name = "" },
		"a plain URL":           func(c *InitConfig) { c.URL = "http://x" },
		"too many coins":        func(c *InitConfig) { c.Mints = []contract.Mint{{Coins: 1<<64 - 1}} },
		"an account twice":      func(c *InitConfig) { c.Mints = []contract.Mint{{Coins: 1}, {Coins: 1}} },
		"a file in the way":     func(c *InitConfig) { os.WriteFile(c.Dir, nil, 0o600) },
		"something in the way":  func(c *InitConfig) { os.MkdirAll(filepath.Join(c.Dir, "x"), 0o700) },
		"a password of a book":  func(c *InitConfig) { c.Password = make([]byte, 1<<20) },
		"a cost that is absurd": func(c *InitConfig) { c.Cost.Time = 1 << 31 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := InitConfig{Dir: filepath.Join(t.TempDir(), "fed"), Name: "A", Treasury: 1, Cost: cheap, Now: (&testClock{}).now()}
			change(&cfg)
			if f, err := Init(cfg); err == nil {
				t.Fatalf("%+v", f)
			}
			list := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(cfg.Dir)))
			if len(list) > 1 || len(list) == 1 && list[0].Name() != "fed" {
				t.Errorf("something is left behind: %v", list)
			}
		})
	}
}

func TestOpenIsRefused(t *testing.T) {
	p := opened(t)
	var busy *InUse
	if _, err := Open(t.Context(), p.config()); !errors.As(err, &busy) || busy.PID != os.Getpid() {
		t.Errorf("open twice: %v", err)
	}
	p.stop()
	wrong := p.config()
	wrong.Password = func() ([]byte, error) { return []byte("x"), nil }
	if _, err := Open(t.Context(), wrong); !errors.Is(err, identity.ErrWrongPassword) {
		t.Errorf("a wrong password: %v", err)
	}
	nowhere := p.config()
	nowhere.Dir = t.TempDir()
	if _, err := Open(t.Context(), nowhere); !errors.Is(err, ErrNoFederation) {
		t.Errorf("an empty folder: %v", err)
	}
	if list := must[[]os.DirEntry](t)(os.ReadDir(nowhere.Dir)); len(list) != 0 {
		t.Errorf("%v appeared in a folder that is no federation's", list)
	}
	p.open(t) // none of them kept the lock
}

// calls are all commands on one Operator, with their answers.
func operateAll(t *testing.T, op Operator, bob payment.Account) {
	t.Helper()
	ctx := t.Context()
	i := must[Invitation](t)(op.Invite(ctx, InviteRequest{Name: "carol"}))
	if _, err := ParseCode(i.Code); err != nil || i.Name != "carol" {
		t.Errorf("%+v, %v", i, err)
	}
	f := must[Funding](t)(op.Fund(ctx, FundRequest{To: "bob", Coins: 7}))
	if f.Account != bob || f.Name != "bob" || f.Coins != 7 || f.Height == 0 || len(f.Transaction) != 64 {
		t.Errorf("%+v", f)
	}
	if _, err := op.Fund(ctx, FundRequest{To: "bob", Coins: 1 << 40}); err == nil || !strings.Contains(err.Error(), contract.NoCoins.Error()) {
		t.Errorf("too many coins: %v", err)
	}
	if _, err := op.Revoke(ctx, RevokeRequest{Who: "nobody"}); err == nil || !strings.Contains(err.Error(), errNoMember.Error()) {
		t.Errorf("nobody: %v", err)
	}
	before := must[[]Root](t)(op.Roots(ctx, struct{}{}))
	added := must[Root](t)(op.AddRoot(ctx, AddRootRequest{}))
	if !added.Own || !added.Trusted {
		t.Errorf("%+v", added)
	}
	removed := must[Root](t)(op.RemoveRoot(ctx, RemoveRootRequest{Fingerprint: before[len(before)-1].Fingerprint}))
	if removed.Trusted {
		t.Errorf("%+v", removed)
	}
	if _, err := op.AddRoot(ctx, AddRootRequest{Certificate: []byte("x")}); err == nil {
		t.Error("no certificate was added")
	}
	m := must[Member](t)(op.Revoke(ctx, RevokeRequest{Who: "bob"}))
	list := must[[]Member](t)(op.Members(ctx, struct{}{}))
	if !m.Revoked || !slices.ContainsFunc(list, func(m Member) bool { return m.Name == "bob" && m.Revoked && m.Account == bob }) {
		t.Errorf("%+v, %+v", m, list)
	}
	if m := must[Member](t)(op.Reinstate(ctx, RevokeRequest{Who: "bob"})); m.Revoked || m.Name != "bob" {
		t.Errorf("%+v", m)
	}
	operateVotes(t, op, bob)
}

// operateVotes are the commands about what the organisations decide, of which
// there is one.
func operateVotes(t *testing.T, op Operator, bob payment.Account) {
	t.Helper()
	ctx := t.Context()
	who := RevokeRequest{Who: "bob"}
	for _, x := range []struct {
		ask  ProposeRequest
		want contract.DecisionInfo
	}{
		{ProposeRequest{Kind: contract.DecidePrice, Price: 12}, contract.DecisionInfo{Price: 12}},
		{ProposeRequest{Kind: contract.DecideMint, Who: who, Coins: 5}, contract.DecisionInfo{Account: bob, Coins: 5}},
		{ProposeRequest{Kind: contract.DecideRevoke, Who: who}, contract.DecisionInfo{Account: bob, MSP: "Alpha"}},
		{ProposeRequest{Kind: contract.DecideReinstate, Who: who}, contract.DecisionInfo{Account: bob}},
	} {
		p := must[Proposal](t)(op.Propose(ctx, x.ask))
		x.want.Kind = x.ask.Kind
		if p.State != ProposalPassed || !reflect.DeepEqual(p.Decision, x.want) || !slices.Equal(p.Approved, []string{"Alpha"}) {
			t.Errorf("%s: %+v", x.ask.Kind, p)
		}
		again := must[Proposal](t)(op.Approve(ctx, ApproveRequest{p.ID.String()[:20]}))
		one := must[[]Proposal](t)(op.Proposals(ctx, ProposalsRequest{p.ID.String()[:20]}))
		if again.ID != p.ID || len(one) != 1 || one[0].ID != p.ID || one[0].Passed != p.Passed {
			t.Errorf("%s: %+v, %+v", x.ask.Kind, again, one)
		}
	}
	if n := len(must[[]Proposal](t)(op.Proposals(ctx, ProposalsRequest{}))); n != 4 {
		t.Errorf("%d proposals", n)
	}
	for sentence, ask := range map[string]ProposeRequest{
		errSoAlready.Error():         {Kind: contract.DecidePrice, Price: 12},
		errNoMember.Error():          {Kind: contract.DecideRevoke, Who: RevokeRequest{Who: "nobody"}},
		contract.SameAccount.Error(): {Kind: contract.DecideReassign, Who: who, Heir: who},
		"nothing was proposed":       {Kind: contract.DecideReinstate, Who: RevokeRequest{Who: payment.Account{7}.String()}},
	} {
		if _, err := op.Propose(ctx, ask); err == nil || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%v, want %q", err, sentence)
		}
	}
	for _, id := range []string{"", "zz"} {
		if _, err := op.Approve(ctx, ApproveRequest{id}); err == nil || !strings.Contains(err.Error(), "no proposal's id begins with") {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestOperateOnTheFolder(t *testing.T) {
	p := served(t, nil)
	bob := p.enrolled(t, "bob").Account
	p.stop()
	p.open(t)
	operateAll(t, p.Federation, bob)
}

func TestOperateOnTheProcess(t *testing.T) {
	p := served(t, nil)
	bob := p.enrolled(t, "bob").Account
	op := must[Operator](t)(Operate(t.Context(), p.config()))
	defer op.Close()
	if c, ok := op.(*Control); !ok || c.PID() != os.Getpid() {
		t.Fatalf("it is %T", op)
	}
	operateAll(t, op, bob)
	if p.balance(t, bob) != 12 { // 7 of the treasury, 5 minted
		t.Errorf("bob has %s", p.balance(t, bob))
	}
}

// A folder that a process has open without serving it takes no commands, and
// says who has it.
func TestOperateWaitsNotForEver(t *testing.T) {
	p := opened(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if op, err := Operate(ctx, p.config()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", op, err)
	}
}

// control.json is for the operator alone, and names the process that serves.
func TestControlFile(t *testing.T) {
	p := served(t, nil)
	at := must[control.At](t)(control.Read(filepath.Join(p.dir, controlFile)))
	info := must[os.FileInfo](t)(os.Stat(filepath.Join(p.dir, controlFile)))
	if info.Mode().Perm() != 0o600 || at.PID != os.Getpid() {
		t.Errorf("control.json is %v, of process %d", info.Mode(), at.PID)
	}
	stranger := &Control{control.NewClient(control.At{Address: at.Address, Token: "guessed"})}
	if _, err := stranger.Members(t.Context(), struct{}{}); err == nil {
		t.Error("a stranger was answered")
	}
}

// cutOff leaves a call of the administrator as a crash does: on disk, submitted
// or not.
func (p *place) cutOff(t *testing.T, args contract.Arguments, submitted bool) {
	t.Helper()
	admin := p.administrator()
	tx := p.signed(t, admin, args)
	if submitted {
		must[ledger.Receipt](t)(p.books.Submit(t.Context(), tx))
	}
	if err := p.registry.addPending(contract.IDOf(accountOf(admin), tx.Body), tx.Append(nil)); err != nil {
		t.Fatal(err)
	}
}

// A transfer that a crash cut off is made once, whether the ledger had it or not.
func TestCutOffCallsAreFinishedOnce(t *testing.T) {
	p := opened(t)
	to := payment.Account{1}
	p.cutOff(t, &contract.Transfer{To: to, Coins: 5}, true)
	p.cutOff(t, &contract.Transfer{To: to, Coins: 70}, false)
	for range 2 {
		p.stop()
		p.open(t)
		if got := p.balance(t, to); got != 75 {
			t.Fatalf("the account has %s", got)
		}
		if n := p.registry.count(t, bucketPending); n != 0 {
			t.Errorf("%d calls are left", n)
		}
	}
	// One that is too old to be done is given up, and said.
	p.cutOff(t, &contract.Transfer{To: to, Coins: 900}, false)
	p.stop()
	p.clock.pass(ledger.MaxClockSkew + 2e9)
	var log bytes.Buffer
	cfg := p.config()
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	f := must[*Federation](t)(Open(t.Context(), cfg))
	defer f.Close()
	if !strings.Contains(log.String(), "was never done, and is given up: do it again") || f.registry.count(t, bucketPending) != 0 {
		t.Errorf("the log: %s", log.String())
	}
	p.Federation = f
	if got := p.balance(t, to); got != 75 {
		t.Errorf("the account has %s", got)
	}
}

// Roots of the portal that a crash left behind, known to the ledger or not.
func TestHalfAddedRoot(t *testing.T) {
	p := opened(t)
	a := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), rootLifetime))
	if err := p.Federation.dir.writeAuthority(2, a, []byte(testPassword), cheap); err != nil {
		t.Fatal(err)
	}
	p.stop()
	p.open(t)
	if p.issuer().authority.Root().Equal(a.Root()) {
		t.Error("it issues by a root that the ledger does not trust")
	}
	third := must[Root](t)(p.AddRoot(t.Context(), AddRootRequest{}))
	if got := hexOf(fingerprint(p.issuer().authority.Root())); got != third.Fingerprint {
		t.Errorf("it issues by %s, not %s", got, third.Fingerprint)
	}
	if _, err := p.administrator().Leaf().Verify(x509.VerifyOptions{}); err == nil {
		t.Error("the administrator's certificate is of a root of this machine")
	}
	p.pay(t, payment.Account{1}, 1) // signed under the new root
	p.stop()
	p.open(t)
	if got := hexOf(fingerprint(p.issuer().authority.Root())); got != third.Fingerprint {
		t.Errorf("after a restart it issues by %s", got)
	}
}
