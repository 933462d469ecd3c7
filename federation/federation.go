package federation

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"torrente/identity"
	"torrente/payment/ledger"
)

// Config is how a federation is opened.
type Config struct {
	Dir      string
	Password func() ([]byte, error) // asked when the folder is free and keys have to be opened
	Profile  string                 // instead of the connection profile of the settings; empty: that one
	Now      func() time.Time
	Log      *slog.Logger
}

// Federation is a federation whose folder this process has open.
type Federation struct {
	dir      folder
	settings settings
	now      func() time.Time
	log      *slog.Logger
	release  func()
	password []byte // seals the keys of further roots
	ledger   shared
	books    *ledger.Embedded // the same, if it is here; else nil
	registry *registry
	sold     *sold
	feed     *feed // of the ledger, if it is elsewhere
	bounds   bounds

	// admin serialises what the operator changes.
	admin sync.Mutex

	// refreshing is held while the standing is read anew.
	refreshing sync.Mutex

	mu      sync.Mutex // guards the following
	own     []*identity.Authority
	signer  *identity.Identity // the administrator
	current *standing
	at      Addresses // where Serve listens
	tls     *portalKey
}

// Open opens the federation in a folder for this process alone. The errors are
// ErrNoFederation, *InUse, and identity's for keys that do not open.
func Open(ctx context.Context, cfg Config) (*Federation, error) {
	d := folder(cfg.Dir)
	release, err := d.take()
	if err != nil {
		return nil, err
	}
	f := &Federation{dir: d, now: cfg.Now, log: cfg.Log, release: release, sold: newSold(), feed: newFeed(), bounds: usualBounds}
	if err := f.open(ctx, cfg.Profile, cfg.Password); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Operate opens the federation, or connects to the process that serves it.
func Operate(ctx context.Context, cfg Config) (Operator, error) {
	f, err := Open(ctx, cfg)
	if err == nil {
		return f, nil
	}
	if _, busy := errors.AsType[*InUse](err); busy {
		c, err := Connect(ctx, cfg.Dir)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return nil, err
}

func (f *Federation) open(ctx context.Context, profile string, password func() ([]byte, error)) (err error) {
	if f.settings, err = f.dir.readSettings(); err != nil {
		return err
	}
	if err := f.settings.follow(profile); err != nil {
		return err
	}
	if f.password, err = password(); err != nil {
		return err
	}
	if f.own, err = f.dir.readAuthorities(f.password); err != nil {
		return err
	}
	if f.signer, err = identity.Load(f.dir.path(treasuryKey), f.dir.path(treasuryChain), f.password); err != nil {
		return err
	}
	if f.registry, err = openRegistry(f.dir.path(registryFile)); err != nil {
		return err
	}
	if err := f.sold.load(f.registry); err != nil {
		return err
	}
	return f.meetLedger(ctx)
}

// meetLedger opens the ledger and brings up to date what depends on it.
func (f *Federation) meetLedger(ctx context.Context) error {
	if f.settings.Profile != "" || f.settings.Ledger != "" {
		if err := f.renewUnheard(); err != nil {
			return err
		}
		patient, cancel := context.WithTimeoutCause(ctx, openPatience, errNoAnswer)
		defer cancel()
		ctx = patient
	}
	if err := f.openLedger(ctx); err != nil {
		return whyEnded(ctx, err)
	}
	if err := f.refresh(ctx); err != nil {
		return whyEnded(ctx, err)
	}
	if err := f.renewSigner(); err != nil {
		return err
	}
	err := f.resubmit(ctx)
	if passing(err) { // nothing else waits for it
		f.log.Warn("a call of the administrator is not finished yet: it is sent again while the federation is served", "reason", err)
		return nil
	}
	return whyEnded(ctx, err)
}

// openPatience is how long a ledger over a network may take until the federation
// is open, and between two blocks while the old ones are read.
const openPatience = 2 * time.Minute

var errNoAnswer = fmt.Errorf("the ledger has given no answer for %s: check the network and whether the ledger runs, then start again", openPatience)

// whyEnded says so if a deadline of ours is what ended ctx.
func whyEnded(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		return errNoAnswer
	}
	return err
}

// Close closes ledger and registry, and gives the folder free.
func (f *Federation) Close() error {
	var errs []error
	if f.ledger != nil {
		errs = append(errs, f.ledger.Close())
	}
	if f.registry != nil {
		errs = append(errs, f.registry.close())
	}
	clear(f.password)
	f.release()
	return errors.Join(errs...)
}

// Name returns the organisation's id, which is also the name of a federation
// that it is alone.
func (f *Federation) Name() string { return f.settings.MSP }

// standing returns whom the ledger trusts at this moment.
func (f *Federation) standing() *standing {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// administrator returns the identity that signs for the federation.
func (f *Federation) administrator() *identity.Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signer
}

// issuer returns what certificates are issued by at this moment: the newest of
// the portal's own roots that is trusted.
func (f *Federation) issuer() *issuer {
	s := f.standing()
	return &issuer{authority: s.own[len(s.own)-1], trust: s.trust, now: f.now()}
}

// gate returns the root that the portal's TLS certificate ends in, and that
// invites name: the oldest of its own that is trusted, because it is the one
// that most members know.
func (f *Federation) gate() *identity.Authority { return f.standing().own[0] }

// renewSigner gives the administrator's key a new certificate at half of its
// life, and when its root is another than the one to issue by.
func (f *Federation) renewSigner() error {
	by, id := f.issuer(), f.administrator()
	isCurrent := id.Leaf().CheckSignatureFrom(by.authority.Root()) == nil
	if isCurrent && by.now.Before(id.RenewAt()) {
		return nil
	}
	csr, err := identity.NewRequest(id.Key(), administratorName)
	if err != nil {
		return err
	}
	leaf, err := by.issue(csr, administratorName)
	if err != nil {
		return fmt.Errorf("renew the administrator's certificate: %w", err)
	}
	return f.takeSigner(id, leaf)
}

// renewUnheard does the same before a ledger over a network is reached, which an
// expired certificate would never reach again. The root is the one that the
// certificate ends in now, which the ledger trusted at last: a newer one it may
// never have heard of.
func (f *Federation) renewUnheard() error {
	id, now := f.administrator(), f.now()
	if now.Before(id.RenewAt()) {
		return nil
	}
	by := f.own[len(f.own)-1]
	for _, a := range f.own {
		if id.Leaf().CheckSignatureFrom(a.Root()) == nil {
			by = a
		}
	}
	csr, err := identity.NewRequest(id.Key(), administratorName)
	if err != nil {
		return err
	}
	leaf, err := by.Issue(csr, administratorName, now, memberLifetime)
	if err != nil {
		return fmt.Errorf("renew the administrator's certificate: %w", err)
	}
	return f.takeSigner(id, leaf)
}

// takeSigner gives the administrator another certificate. Connections by the one
// before end when they are idle.
func (f *Federation) takeSigner(id *identity.Identity, leaf *x509.Certificate) error {
	chain := []*x509.Certificate{leaf}
	next, err := identity.New(id.Key(), chain)
	if err != nil {
		return err
	}
	if err := identity.WriteCertificateFile(f.dir.path(treasuryChain), chain); err != nil {
		return err
	}
	f.mu.Lock()
	f.signer = next
	f.mu.Unlock()
	if e, far := f.ledger.(*elsewhere); far {
		return e.Client.Close() // which may be used on
	}
	return nil
}

// enrol answers an invite.
func (f *Federation) enrol(code Code, csr *request, name string) (member, [][]byte, error) {
	if !f.knowsPin(code) {
		return member{}, nil, errOtherAuthority
	}
	return f.registry.enrol(f.issuer(), code, csr, name)
}

// knowsPin reports whether the invite is of a root that is the portal's own and
// trusted: with another it would not have reached the right portal.
func (f *Federation) knowsPin(code Code) bool {
	for _, a := range f.standing().own {
		if code.pins(a.Root()) {
			return true
		}
	}
	return false
}

func hexOf(sum [32]byte) string { return hex.EncodeToString(sum[:]) }
