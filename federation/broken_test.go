package federation

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// The portal is the right one and yet says something that cannot be: nothing of
// it is kept.
func TestEnrolChecksTheAnswer(t *testing.T) {
	p := served(t, nil)
	r := p.request(t, p.code(t, "bob"))
	e := must[*Enrolled](t)(Enrol(t.Context(), r))
	eve := p.enrolled(t, "eve")
	good := enrolled{string(identity.EncodeCertificates(e.Chain)), "bob", e.Account, *p.directory()}
	if _, err := r.accept(must[[]byte](t)(json.Marshal(good))); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		spoil func(*enrolled)
		is    error
	}{
		"another key's certificate": {func(e *enrolled) { e.Certificate = string(identity.EncodeCertificates(eve.Chain)) }, identity.ErrMismatch},
		"no certificate":            {func(e *enrolled) { e.Certificate = "" }, identity.ErrMalformed},
		"another account":           {func(e *enrolled) { e.Account = eve.Account }, remote.ErrDirectory},
		"another ledger":            {func(e *enrolled) { e.Directory.LedgerID = payment.LedgerID{1} }, remote.ErrDirectory},
		"roots that are not its own": {func(e *enrolled) {
			e.Directory.Authorities[0].Trusted = false
			e.Directory.Complete()
		}, identity.ErrRootRemoved},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.Directory = *p.directory()
			bad.Directory.Authorities = append([]contract.Root(nil), bad.Directory.Authorities...)
			tt.spoil(&bad)
			if _, err := r.accept(must[[]byte](t)(json.Marshal(bad))); !errors.Is(err, tt.is) {
				t.Errorf("%v, not %v", err, tt.is)
			}
		})
	}
	if _, err := r.accept([]byte("<html>")); err == nil {
		t.Error("a page was taken for an answer")
	}
}

// A ledger that fails under the portal is the operator's to look after; members
// are told to wait, and told nothing of its insides.
func TestBrokenLedger(t *testing.T) {
	p := opened(t)
	admin := p.administrator()
	tx := string(p.signed(t, admin, &contract.SetDelegate{}).Append(nil))
	ctx, stop := context.WithCancel(t.Context())
	portal := newPortal(ctx, p.Federation, nil)
	if err := p.books.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(status int) {
		t.Helper()
		for answer, body := range map[*answerer]string{new(answerer(portal.submit)): tx, new(answerer(portal.query)): `{"kind":"ledger"}`} {
			w := httptest.NewRecorder()
			(*answer)(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body)), caller{})
			var f remote.Failure
			if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil {
				t.Fatal(err)
			}
			if w.Code != status || f.Reason != remote.ReasonUnavailable || strings.Contains(f.Error, ledger.ErrClosed.Error()) {
				t.Errorf("%d %+v", w.Code, f)
			}
		}
	}
	check(http.StatusInternalServerError)
	stop()
	check(http.StatusServiceUnavailable)
	_, err := p.Fund(t.Context(), FundRequest{To: payment.Account{1}.String(), Coins: 1})
	if err == nil || !strings.Contains(err.Error(), "do not repeat it") || p.registry.count(t, bucketPending) != 1 {
		t.Errorf("a transfer whose end is not known: %v", err)
	}
}

// Every file of the folder, missing or spoilt, is named; nothing panics, and
// the folder is free afterwards.
func TestSpoiltFolders(t *testing.T) {
	for _, name := range []string{settingsFile, treasuryKey, treasuryChain, "authorities/1.key", "authorities/1.pem", "ledger/blocks.log", registryFile} {
		for how, spoil := range map[string]func(path string) error{
			"missing": os.Remove,
			"spoilt":  func(path string) error { return os.WriteFile(path, []byte("spoilt"), 0o600) },
			"huge":    func(path string) error { return os.Truncate(path, maxFileBytes+1) },
		} {
			t.Run(how+" "+name, func(t *testing.T) {
				if how == "huge" && strings.HasSuffix(name, ".log") {
					return // zeros at its end are a block that a power loss cut off
				}
				p := opened(t)
				p.stop()
				if err := spoil(filepath.Join(p.dir, name)); err != nil {
					t.Fatal(err)
				}
				f, err := Open(t.Context(), p.config())
				if name == registryFile && err == nil { // made anew: members are asked to enroll again
					f.Close()
					return
				}
				if err == nil {
					f.Close()
					t.Fatal("it opened")
				}
				if how != "missing" && name != settingsFile && !strings.Contains(err.Error(), filepath.Base(p.dir)) {
					t.Errorf("%v names no file", err)
				}
				if again, err := folder(p.dir).take(); err == nil {
					again()
				} else if name != settingsFile {
					t.Errorf("the folder is still held: %v", err)
				}
			})
		}
	}
}

func TestInUseNamesTheProcess(t *testing.T) {
	for pid, want := range map[int]string{0: "fed is in use by another process: stop it first", 7: "fed is in use by process 7: stop it first"} {
		if got := (&InUse{"fed", pid}).Error(); got != want {
			t.Errorf("%q", got)
		}
	}
	d := folder(t.TempDir())
	for text, want := range map[string]int{"12\n": 12, "x": 0, "": 0} {
		if err := os.WriteFile(d.path(pidFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := d.owner(); got != want {
			t.Errorf("%q is process %d", text, got)
		}
	}
}

func BenchmarkSubmitOverHTTP(b *testing.B) {
	p := served(b, nil)
	bob := p.enrolled(b, "bob").Identity
	must[Funding](b)(p.Fund(b.Context(), FundRequest{To: "bob", Coins: 1 << 18}))
	c := p.client(b, bob)
	credit := must[contract.Answer](b)(c.Query(b.Context(), contract.Query{Kind: contract.QueryCredits, Account: accountOf(bob)})).Credits[0]
	must[ledger.Receipt](b)(c.Submit(b.Context(), p.signed(b, bob, &contract.Sweep{Credits: []contract.TxID{credit.Tx}})))
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := c.Submit(b.Context(), p.signed(b, bob, &contract.Transfer{To: payment.Account{1}, Coins: 1}))
			if err != nil || r.Err() != nil {
				b.Error(r, err)
			}
		}
	})
}
