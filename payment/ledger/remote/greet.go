package remote

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// Greet asks the portal of a federation for its time, as nobody in particular: no
// certificate is shown, so no key has to be opened. It returns how long the answer took.
// The errors are *Unreachable, *Stranger and *ledger.WrongClock.
func Greet(ctx context.Context, url string, roots *x509.CertPool, now func() time.Time) (took time.Duration, err error) {
	c, err := New(Config{URL: url, Roots: func() *x509.CertPool { return roots }, Now: now})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	body, err := json.Marshal(contract.Query{Kind: contract.QueryLedger})
	if err != nil {
		return 0, err
	}
	asked := now()
	_, err = Post(ctx, c.web, url, PathQuery, "application/json", body)
	answered := now()
	if strange, ok := errors.AsType[*Stranger](err); ok {
		return 0, c.judgeClock(ctx, strange)
	}
	if refused, ok := errors.AsType[*Refused](err); ok && !refused.Failure.Time.IsZero() { // a stranger is told no more
		if wrong := ledger.CompareClocks(asked, answered, refused.Failure.Time); wrong != nil {
			return 0, wrong
		}
		return answered.Sub(asked), nil
	}
	return answered.Sub(asked), err
}
