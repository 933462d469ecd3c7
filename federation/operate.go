package federation

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// defaultInvite is how long an invite is good unless the operator says.
const (
	defaultInvite = 7 * 24 * time.Hour
	longestInvite = 366 * 24 * time.Hour
)

// Invite makes an invite to the portal.
func (f *Federation) Invite(_ context.Context, r InviteRequest) (Invitation, error) {
	life := r.Lifetime
	if life == 0 {
		life = defaultInvite
	}
	if life < 0 || life > longestInvite {
		return Invitation{}, fmt.Errorf("an invite is good for up to %s, not %s", longestInvite, life)
	}
	if err := f.checkInviteName(r.Name); err != nil {
		return Invitation{}, err
	}
	now := f.now()
	v := invite{Name: r.Name, Created: now, Expires: now.Add(life)}
	code := newCode(f.gate().Root())
	if err := f.registry.addInvite(code.digest(), v); err != nil {
		return Invitation{}, err
	}
	return Invitation{code.String(), r.Name, f.url(), v.Expires}, nil
}

// checkInviteName refuses a name now that no certificate could carry later.
func (f *Federation) checkInviteName(name string) error {
	if name == "" {
		return nil
	}
	if _, err := identity.NewRequest(f.administrator().Key(), name); err != nil {
		return fmt.Errorf("%.80q cannot be a member's name: give up to 64 printable bytes", name)
	}
	if _, err := f.registry.memberOf(name); err == nil {
		return fmt.Errorf("%q: %w", name, errNameTaken)
	} else if !errors.Is(err, errNoMember) {
		return err
	}
	return checkMemberName(name)
}

// url is the portal's address, if it is known.
func (f *Federation) url() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at.Portal != "" {
		return f.at.Portal
	}
	return f.settings.URL
}

// Fund transfers coins from the treasury.
func (f *Federation) Fund(ctx context.Context, r FundRequest) (Funding, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	var out Funding
	m, err := f.registry.memberOf(r.To)
	if errors.Is(err, errNoMember) && out.Account.UnmarshalText([]byte(r.To)) == nil {
		m, err = member{Account: out.Account}, nil // of another portal, or not enrolled yet
	}
	if err != nil {
		return out, err
	}
	receipt, err := f.perform(ctx, &contract.Transfer{To: m.Account, Coins: r.Coins})
	if err != nil {
		return out, fmt.Errorf("transfer %s coins to %s: %w", r.Coins, m.label(), err)
	}
	return Funding{m.Account, m.Name, r.Coins, receipt.Tx.String(), receipt.Height}, nil
}

// label is how a member is called in a sentence.
func (m *member) label() string {
	if m.Name != "" {
		return m.Name
	}
	return m.Account.String()
}

// Revoke refuses a member from now on, at the portal and on the ledger.
func (f *Federation) Revoke(ctx context.Context, r RevokeRequest) (Member, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	m, err := f.whom(r)
	if err != nil {
		return Member{}, err
	}
	if _, err := f.perform(ctx, &contract.Revoke{MSP: m.MSP, SPKI: m.SPKI}); err != nil {
		return Member{}, fmt.Errorf("revoke %s: %w", m.label(), err)
	}
	return m.public(f.standing()), nil
}

// whom finds who is to be revoked.
func (f *Federation) whom(r RevokeRequest) (member, error) {
	if len(r.Certificate) == 0 {
		return f.registry.memberOf(r.Who)
	}
	chain, err := identity.DecodeCertificates(r.Certificate)
	if err != nil {
		return member{}, err
	}
	c := chain[0]
	if len(c.Subject.Organization) != 1 {
		return member{}, fmt.Errorf("%w (it names no organization)", identity.ErrMalformed)
	}
	m := member{Name: c.Subject.CommonName, MSP: c.Subject.Organization[0], SPKI: c.RawSubjectPublicKeyInfo}
	m.Account = payment.AccountOf(m.MSP, m.SPKI)
	return m, nil
}

func (m *member) public(s *standing) Member {
	return Member{m.Name, m.Account, m.MSP, m.Enrolled, m.Expires, s.isRevoked(m.Account)}
}

// Members lists who has enrolled here, in the order of their names.
func (f *Federation) Members(context.Context, struct{}) ([]Member, error) {
	rows, err := f.registry.members()
	if err != nil {
		return nil, err
	}
	s, list := f.standing(), make([]Member, 0, len(rows))
	for _, m := range rows {
		list = append(list, m.public(s))
	}
	return list, nil
}

// AddRoot trusts another root. Without a certificate it makes one of its own,
// by which it issues from now on: the old one can be removed when the members
// have renewed.
func (f *Federation) AddRoot(ctx context.Context, r AddRootRequest) (Root, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	if len(r.Certificate) == 0 {
		return f.addOwnRoot(ctx)
	}
	msp := r.MSP
	if msp == "" {
		msp = f.settings.MSP
	}
	chain, err := identity.DecodeCertificates(r.Certificate)
	if err != nil {
		return Root{}, err
	}
	if len(chain) != 1 {
		return Root{}, fmt.Errorf("%d certificates were given: add one root at a time", len(chain))
	}
	return f.trustRoot(ctx, msp, chain[0])
}

func (f *Federation) trustRoot(ctx context.Context, msp string, root *x509.Certificate) (Root, error) {
	if _, err := f.perform(ctx, &contract.AddRoot{MSP: msp, Certificate: root.Raw}); err != nil {
		return Root{}, fmt.Errorf("trust the root %.16s of %s: %w", hexOf(fingerprint(root)), msp, err)
	}
	return f.rootOf(fingerprint(root))
}

// addOwnRoot stores the new authority before the ledger knows it: one that the
// ledger does not trust is not used.
func (f *Federation) addOwnRoot(ctx context.Context) (Root, error) {
	f.mu.Lock()
	n := len(f.own) + 1
	f.mu.Unlock()
	if n > maxAuthorities {
		return Root{}, fmt.Errorf("the portal has had %d roots, which is the most", maxAuthorities)
	}
	a, err := identity.NewAuthority(f.settings.MSP, f.now(), rootLifetime)
	if err != nil {
		return Root{}, err
	}
	if err := f.dir.writeAuthority(n, a, f.password, f.settings.Cost); err != nil {
		return Root{}, err
	}
	f.mu.Lock()
	f.own = append(f.own, a)
	f.mu.Unlock()
	return f.trustRoot(ctx, a.MSP(), a.Root())
}

// RemoveRoot ends the trust in a root: what it certified is refused from now
// on, and told why.
func (f *Federation) RemoveRoot(ctx context.Context, r RemoveRootRequest) (Root, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	root, print, err := f.findRoot(r.Fingerprint)
	if err != nil {
		return Root{}, err
	}
	if own := f.standing().own; root.Own && len(own) == 1 && fingerprint(own[0].Root()) == print {
		return Root{}, errors.New("it is the only root that the portal can issue by: make the next one first, with torrente federation root add")
	}
	if _, err := f.perform(ctx, &contract.RemoveRoot{MSP: root.MSP, Fingerprint: print}); err != nil {
		return Root{}, fmt.Errorf("remove the root %.16s of %s: %w", root.Fingerprint, root.MSP, err)
	}
	return f.rootOf(print)
}

// findRoot finds the one root whose fingerprint begins so.
func (f *Federation) findRoot(prefix string) (found Root, print [32]byte, err error) {
	list, err := f.roots()
	if err != nil {
		return Root{}, print, err
	}
	prefix = strings.ToLower(prefix)
	n := 0
	for i, r := range list {
		if prefix != "" && strings.HasPrefix(r.Fingerprint, prefix) {
			found, print = r, fingerprint(list[i].certificate)
			n++
		}
	}
	switch {
	case n == 0:
		return Root{}, print, fmt.Errorf("no root has the fingerprint %.80q: list them with torrente federation root list", prefix)
	case n > 1:
		return Root{}, print, fmt.Errorf("%d roots have a fingerprint that begins with %.80q: give more of it", n, prefix)
	}
	return found, print, nil
}

// Roots lists all roots that the ledger knows, the removed ones too.
func (f *Federation) Roots(context.Context, struct{}) ([]Root, error) { return f.roots() }

func (f *Federation) roots() ([]Root, error) {
	s := f.standing()
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Root, 0, len(s.authorities))
	for _, a := range s.authorities {
		c, err := x509.ParseCertificate(a.Certificate)
		if err != nil {
			return nil, fmt.Errorf("a root of %s: %w", a.MSP, err)
		}
		r := Root{Fingerprint: hexOf(fingerprint(c)), MSP: a.MSP, Trusted: a.Trusted, Expires: c.NotAfter, certificate: c}
		for _, own := range f.own {
			r.Own = r.Own || own.Root().Equal(c)
		}
		list = append(list, r)
	}
	return list, nil
}

func (f *Federation) rootOf(print [32]byte) (Root, error) {
	r, _, err := f.findRoot(hexOf(print))
	return r, err
}

// perform signs a call as the administrator and has it committed. The signed
// bytes are on disk before they are submitted first, so that a crash between
// neither loses nor repeats the call.
func (f *Federation) perform(ctx context.Context, args contract.Arguments) (ledger.Receipt, error) {
	if err := f.renewSigner(); err != nil {
		return ledger.Receipt{}, err
	}
	tx := &contract.Transaction{Ledger: f.ledger.ID(), Time: uint64(f.now().Unix()), Args: args}
	// It never fails: the runtime ends the program if the kernel has no randomness.
	_, _ = rand.Read(tx.Request[:])
	by := f.administrator()
	signed, err := contract.Sign(by.Key(), by.Chain(), tx)
	if err != nil {
		return ledger.Receipt{}, err
	}
	p := by.Principal()
	id := tx.ID(payment.AccountOf(p.MSP, p.SPKI))
	if err := f.registry.addPending(id, signed.Append(nil)); err != nil {
		return ledger.Receipt{}, err
	}
	// From here on the call will be done, whoever stops waiting for it.
	r, err := f.submit(context.WithoutCancel(ctx), signed)
	if err != nil && !final(err) {
		return r, fmt.Errorf("%w: it is sent again for five minutes while the federation is served, and when it is opened next, which says how it ended, so do not repeat it before", err)
	}
	if err := errors.Join(err, f.registry.dropPending(id)); err != nil {
		return r, err
	}
	return r, r.Err()
}

// final reports whether the ledger will never execute the same bytes.
func final(err error) bool {
	_, off := errors.AsType[*ledger.ClockOff](err)
	return off || identity.RefusalCode(err) != 0 || errors.Is(err, payment.ErrSignature) || errors.Is(err, contract.ErrTransaction)
}

// submit has a transaction committed. What it changes in whom to trust holds
// before it is answered.
func (f *Federation) submit(ctx context.Context, tx *contract.Signed) (ledger.Receipt, error) {
	r, err := f.ledger.Submit(ctx, tx)
	if err != nil || r.Err() != nil {
		return r, err
	}
	parsed, err := contract.ParseTransaction(tx.Body)
	if err != nil {
		return r, err
	}
	if changesStanding(parsed.Args.Call()) {
		err = f.refresh(ctx)
	}
	return r, err
}

// keepUp does until ctx ends what a federation that is served has to do by itself:
// it renews the administrator's certificate, and finishes its calls.
func (f *Federation) keepUp(ctx context.Context) error {
	tick := time.NewTicker(f.bounds.keepUp)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		f.admin.Lock()
		renewed, finished := f.renewSigner(), f.resubmit(ctx)
		f.admin.Unlock()
		if renewed != nil {
			f.log.Error("the administrator's certificate cannot be renewed", "reason", renewed)
		}
		if finished != nil && ctx.Err() == nil {
			f.log.Debug("a call is not finished yet", "reason", finished)
		}
	}
}

// resubmit finishes the administrator's calls that a crash cut off, or a network. One that is
// too old by now is given up, and said: the ledger refuses it, so it was never
// done and never will be.
func (f *Federation) resubmit(ctx context.Context) error {
	list, err := f.registry.pending()
	if err != nil {
		return err
	}
	for _, raw := range list {
		tx, err := contract.ParseSigned(raw)
		if err != nil {
			return err
		}
		r, err := f.submit(ctx, tx)
		switch {
		case err != nil && !final(err):
			return fmt.Errorf("finish a call of the administrator: %w", err)
		case err != nil:
			f.log.Warn("a call of the administrator that was cut off was never done, and is given up: do it again", "reason", err)
		default:
			f.log.Warn("a call of the administrator that was cut off is done now", "transaction", r.Tx, "height", r.Height, "result", r.Code)
		}
		p := f.administrator().Principal()
		if err := f.registry.dropPending(contract.IDOf(payment.AccountOf(p.MSP, p.SPKI), tx.Body)); err != nil {
			return err
		}
	}
	return nil
}
