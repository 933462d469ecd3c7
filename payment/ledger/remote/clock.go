package remote

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// errNotNow means that the portal's certificate is good at another time than
// that of our clock.
var errNotNow = errors.New("its certificate is not valid at the time of this machine's clock: is that right?")

// judgeClock finds out whether it is our clock for which the portal seems a
// stranger: a certificate that begins in the future is most often that. It
// returns a *ledger.WrongClock then, and otherwise what it was given.
//
// The portal is asked for the time, and nothing else is believed or told over
// that connection, which whoever got hold of the key of an old portal could
// answer: it makes us wait, as it could anyway.
func (c *Client) judgeClock(ctx context.Context, strange error) error {
	t := transport(c.tlsConfig(c.nearest), idleTimeout)
	t.DisableKeepAlives = true
	web := &http.Client{Transport: t, CheckRedirect: noRedirect, Timeout: answerTimeout}
	body, err := json.Marshal(contract.Query{Kind: contract.QueryLedger})
	if err != nil {
		return err
	}
	asked := c.cfg.Now()
	answer, err := Post(ctx, web, c.cfg.URL, PathQuery, "application/json", body)
	answered := c.cfg.Now()
	var theirs time.Time
	if refused, ok := errors.AsType[*Refused](err); ok {
		theirs = refused.Failure.Time // whatever is wrong with us
	} else if a := new(contract.Answer); err == nil && json.Unmarshal(answer, a) == nil && a.Time != 0 {
		theirs = time.Unix(int64(a.Time), 0)
	}
	if theirs.IsZero() {
		return strange
	}
	if wrong := ledger.CompareClocks(asked, answered, theirs); wrong != nil {
		return wrong
	}
	return strange
}

// nearest is the time nearest to ours at which a certificate is valid.
func (c *Client) nearest(portal *x509.Certificate) time.Time {
	now := c.cfg.Now()
	switch {
	case now.Before(portal.NotBefore):
		return portal.NotBefore
	case now.After(portal.NotAfter):
		return portal.NotAfter
	}
	return now
}
