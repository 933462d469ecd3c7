package federation

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"torrente/identity"
	"torrente/internal/jsonhttp"
	"torrente/internal/throttle"
	"torrente/payment"
	"torrente/payment/ledger/remote"
	"torrente/tracker/server"
)

// Bounds of the portal.
const (
	maxEnrolBody    = 32 << 10 // bytes of JSON
	maxQueryBody    = 8 << 10
	enrolEvery      = 2 * time.Second // of one address, in the long run
	enrolBurst      = 30
	maxHeaders      = 16 << 10
	maxAtOnce       = 256 // requests of members that are being answered, streams apart
	retryAfterBusy  = "5" // seconds
	jsonContentType = "application/json"
)

// portal answers on the TLS address.
type portal struct {
	fed     *Federation
	enrols  *throttle.Limit
	slots   chan struct{}            // a place for each request that is being answered
	streams *places[payment.Account] // open streams of events
	tracker *server.Server
	stop    context.Context // ends when the portal does: streams last until then
}

func newPortal(ctx context.Context, f *Federation, tracker *server.Server) *portal {
	return &portal{
		fed: f, enrols: throttle.New(enrolEvery, enrolBurst), slots: make(chan struct{}, maxAtOnce),
		streams: newPlaces[payment.Account](maxStreams, maxAccountStream), tracker: tracker, stop: ctx,
	}
}

// handler routes requests. What is not for members is enrolment alone.
func (p *portal) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/enroll", p.enroll)
	mux.HandleFunc("POST "+remote.PathRenew, p.admit(p.members, p.slot(p.renew)))
	mux.HandleFunc("GET "+remote.PathDirectory, p.admit(p.members, p.slot(p.directory)))
	mux.HandleFunc("POST "+remote.PathSubmit, p.admit(p.creators, p.slot(p.submit)))
	mux.HandleFunc("POST "+remote.PathQuery, p.admit(p.creators, p.slot(p.query)))
	mux.HandleFunc("GET "+remote.PathEvents, p.admit(p.creators, p.events))
	mux.HandleFunc("GET /announce", p.announce)
	mux.HandleFunc("GET /scrape", p.announce)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		p.fail(w, http.StatusNotFound, remote.ReasonMalformed, errors.New("the portal has no such address or takes another method there: update the program"))
	})
	return mux
}

// tlsConfig asks for a client's certificate without needing one: who enrols has
// none. A certificate that is refused still gets its answer, with the reason,
// so it is judged at each request and not here.
func (p *portal) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequestClientCert,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
		Time:                   p.fed.now,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.fed.portalTLS() },
	}
}

// caller is a member, as its certificate says that was just verified.
type caller struct {
	principal identity.Principal
	chain     [][]byte // DER
}

type answerer func(http.ResponseWriter, *http.Request, caller)

// members is whom the federation trusts now. creators also has those it has
// revoked: what they earned stays theirs (L10), so they may redeem and read,
// and the contract refuses the rest.
func (p *portal) members() *identity.Trust  { return p.fed.standing().trust }
func (p *portal) creators() *identity.Trust { return p.fed.standing().creators }

// admit lets in whom the trust, as it is at this moment, has a certificate of.
func (p *portal) admit(trust func() *identity.Trust, next answerer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := p.identify(r, trust())
		if err != nil {
			p.fail(w, http.StatusForbidden, remote.ReasonCertificate, err)
			return
		}
		next(w, r, c)
	}
}

// slot answers as long as there is a place.
func (p *portal) slot(next answerer) answerer {
	return func(w http.ResponseWriter, r *http.Request, c caller) {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
			next(w, r, c)
		default:
			p.busy(w)
		}
	}
}

var errNoCertificate = errors.New("this needs a member's certificate: enroll first")

func (p *portal) identify(r *http.Request, trust *identity.Trust) (caller, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return caller{}, errNoCertificate
	}
	var c caller
	for _, cert := range r.TLS.PeerCertificates {
		c.chain = append(c.chain, cert.Raw)
	}
	var err error
	c.principal, err = trust.Verify(c.chain, p.fed.now())
	return c, err
}

func (p *portal) busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfterBusy)
	p.fail(w, http.StatusTooManyRequests, remote.ReasonBusy, errors.New("the federation has too much to do: try again in a few seconds"))
}

// fail answers with one sentence and the time, by which a client sees whether
// its clock is off.
func (p *portal) fail(w http.ResponseWriter, status int, reason remote.Reason, err error) {
	p.answer(w, status, remote.Failure{Error: err.Error(), Reason: reason, Time: p.fed.now(), Refusal: identity.RefusalCode(err)})
}

func (p *portal) answer(w http.ResponseWriter, status int, f remote.Failure) {
	w.Header().Set("Date", f.Time.UTC().Format(http.TimeFormat))
	jsonhttp.Write(w, status, f)
}

// broken answers for what is the federation's own trouble. The reason is for
// its operator.
func (p *portal) broken(w http.ResponseWriter, what string, err error) {
	if p.stop.Err() != nil {
		p.fail(w, http.StatusServiceUnavailable, remote.ReasonUnavailable, errors.New("the federation is stopping: try again later"))
		return
	}
	p.fed.log.Error(what, "error", err)
	p.fail(w, http.StatusInternalServerError, remote.ReasonUnavailable, errors.New("the federation cannot do it now: its operator finds the reason in its log"))
}

// readBody reads a request's body of at most limit bytes.
func (p *portal) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p.fail(w, http.StatusRequestEntityTooLarge, remote.ReasonMalformed, fmt.Errorf("the request is longer than %d bytes", tooLong.Limit))
		return nil, false
	}
	if err != nil {
		p.fail(w, http.StatusBadRequest, remote.ReasonMalformed, errors.New("the request is cut off"))
		return nil, false
	}
	return b, true
}

// directory answers what the federation is.
func (p *portal) directory(w http.ResponseWriter, _ *http.Request, _ caller) {
	jsonhttp.Write(w, http.StatusOK, p.fed.directory())
}

// renewal is the answer to POST /v1/renew.
type renewal struct {
	Certificate string    `json:"certificate"` // PEM, leaf first
	RenewAt     time.Time `json:"renew_at"`
}

// renew issues the next certificate of the caller's key.
func (p *portal) renew(w http.ResponseWriter, r *http.Request, c caller) {
	body, ok := p.readBody(w, r, maxRequest)
	if !ok {
		return
	}
	csr, err := parseRequest(body)
	if err != nil {
		p.fail(w, http.StatusBadRequest, remote.ReasonMalformed, err)
		return
	}
	leaf := r.TLS.PeerCertificates[0]
	if !bytes.Equal(csr.spki, c.principal.SPKI) {
		p.fail(w, http.StatusForbidden, remote.ReasonCertificate, errors.New("a certificate is renewed for its own key: enroll the new key"))
		return
	}
	if c.principal.MSP != p.fed.settings.MSP {
		p.fail(w, http.StatusForbidden, remote.ReasonCertificate, fmt.Errorf("%s renews at its own portal", c.principal.MSP))
		return
	}
	chain, err := p.fed.registry.renew(p.fed.issuer(), leaf, csr)
	if err != nil {
		p.refuseEnrol(w, err)
		return
	}
	certs, err := parseDER(chain)
	if err != nil {
		p.broken(w, "renew a certificate", err)
		return
	}
	jsonhttp.Write(w, http.StatusOK, renewal{string(identity.EncodeCertificates(certs)), identity.RenewAt(certs[0])})
}

// heightOf reads a height from a query or header; empty is 0.
func heightOf(text string) (uint64, bool) {
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}
