package federation

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"torrente/identity"
	"torrente/internal/jsonhttp"
	"torrente/payment"
	"torrente/payment/ledger/remote"
)

// enrolment is the body of POST /v1/enroll.
type enrolment struct {
	Invite string `json:"invite"`
	CSR    string `json:"csr"` // PKCS #10: PEM, or DER in base64
	Name   string `json:"name,omitempty"`
}

// enrolled is the answer: the certificate, and the federation.
type enrolled struct {
	Certificate string           `json:"certificate"` // PEM, leaf first
	Name        string           `json:"name"`
	Account     payment.Account  `json:"account"`
	Directory   remote.Directory `json:"directory"`
}

// parseEnrolment reads a request to enrol. Nothing is known of its sender.
func parseEnrolment(body []byte) (Code, *request, string, error) {
	var e enrolment
	if err := jsonhttp.Read(strings.NewReader(string(body)), &e); err != nil {
		return Code{}, nil, "", err
	}
	code, err := ParseCode(e.Invite)
	if err != nil {
		return Code{}, nil, "", err
	}
	raw := []byte(e.CSR)
	if !strings.HasPrefix(strings.TrimSpace(e.CSR), "-----BEGIN ") {
		if raw, err = base64.StdEncoding.DecodeString(e.CSR); err != nil {
			return Code{}, nil, "", errRequest
		}
	}
	csr, err := parseRequest(raw)
	return code, csr, e.Name, err
}

// enroll answers who has an invite.
func (p *portal) enroll(w http.ResponseWriter, r *http.Request) {
	if !p.enrols.Allow(addressOf(r.RemoteAddr), p.fed.now()) {
		p.busy(w)
		return
	}
	body, ok := p.readBody(w, r, maxEnrolBody)
	if !ok {
		return
	}
	code, csr, name, err := parseEnrolment(body)
	if err != nil {
		p.fail(w, http.StatusBadRequest, remote.ReasonMalformed, err)
		return
	}
	m, chain, err := p.fed.enrol(code, csr, name)
	if err != nil {
		p.refuseEnrol(w, err)
		return
	}
	certs, err := parseDER(chain)
	if err != nil {
		p.broken(w, "enroll", err)
		return
	}
	p.fed.log.Info("enrolled", "name", m.Name, "account", m.Account)
	jsonhttp.Write(w, http.StatusOK, enrolled{string(identity.EncodeCertificates(certs)), m.Name, m.Account, *p.fed.directory()})
}

// refuseEnrol tells what is the sender's fault, and logs what is ours.
func (p *portal) refuseEnrol(w http.ResponseWriter, err error) {
	for _, known := range []struct {
		reason remote.Reason
		status int
		errs   []error
	}{
		{remote.ReasonInvite, http.StatusForbidden, []error{errOtherAuthority, errUnknownInvite, errUsedInvite, errExpiredInvite}},
		{remote.ReasonName, http.StatusConflict, []error{errNameTaken, errAccountName}},
		{remote.ReasonMalformed, http.StatusBadRequest, []error{identity.ErrRequest, identity.ErrMalformed, identity.ErrKeyType}},
		{remote.ReasonCertificate, http.StatusForbidden, []error{
			errForeign, identity.ErrRevoked, identity.ErrRootRemoved,
			identity.ErrExpired, identity.ErrNotYetValid, identity.ErrOtherFederation,
		}},
	} {
		for _, e := range known.errs {
			if errors.Is(err, e) {
				p.fail(w, known.status, known.reason, err)
				return
			}
		}
	}
	p.broken(w, "enroll", err)
}

func parseDER(chain [][]byte) (certs []*x509.Certificate, err error) {
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// encode writes the request that parseEnrolment reads.
func (e *enrolment) encode() ([]byte, error) { return json.Marshal(e) }
