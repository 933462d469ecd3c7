package identity

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"
)

// alpn keeps a handshake from meaning anything in another protocol.
const alpn = "torrente-pay/1"

// Role says which end of the connection a session is.
type Role uint8

// The initiator opened the connection; it is the TLS client.
const (
	Initiator Role = iota
	Responder
)

// SessionConfig is what a session needs. All fields are required.
type SessionConfig struct {
	Identity *Identity
	Trust    *Trust
	// Transcript is SHA-256 of what both sides sent before, in the clear. It
	// binds the session to this connection, torrent and roles.
	Transcript [32]byte
	// Now is when the other side's certificates must be valid.
	Now time.Time
}

// Session authenticates the two ends of a connection to each other, then seals
// what they say: a TLS 1.3 handshake without TLS records (payment protocol,
// section 3). It reads and writes no connection: Step takes and gives bytes.
//
// One goroutine calls Step and Close; what Seal and Open need is said there.
type Session struct {
	role   Role
	config SessionConfig
	ctx    context.Context // of the handshake, to tell why crypto/tls gave up
	quic   *tls.QUICConn   // nil once the keys are there or the session failed
	err    error           // why the handshake failed; final

	received, sent int       // bytes of the bodies so far
	peer           Principal // set by verify, which runs inside Step
	refusal        error     // what verify found, unwrapped by crypto/tls
	sameTranscript bool
	done           bool

	sealing, opening *direction // nil until done
	tampered         bool       // belongs to Open's goroutine
	authenticated    atomic.Bool
}

// Start begins a handshake. The initiator then calls Step(nil) for the first
// body to send. Close must be called whatever becomes of the session; the end
// of ctx makes the next Step fail, but frees nothing.
func Start(ctx context.Context, role Role, config SessionConfig) (*Session, error) {
	s := &Session{role: role, config: config, ctx: ctx}
	quicConfig := &tls.QUICConfig{TLSConfig: s.tlsConfig()}
	if role == Initiator {
		s.quic = tls.QUICClient(quicConfig)
	} else {
		s.quic = tls.QUICServer(quicConfig)
	}
	s.quic.SetTransportParameters(bytes.Clone(config.Transcript[:]))
	if err := s.quic.Start(ctx); err != nil {
		return nil, s.fail(fmt.Errorf("%w (%w)", ErrHandshake, err))
	}
	return s, nil
}

func (s *Session) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{s.config.Identity.TLS()},
		NextProtos:             []string{alpn},
		CurvePreferences:       []tls.CurveID{tls.X25519}, // a key share of 32 bytes, not of 1,216
		SessionTicketsDisabled: true,                      // a resumed session would skip verify
		ClientAuth:             tls.RequireAnyClientCert,
		Time:                   func() time.Time { return s.config.Now },
		// The other node is known by its account, not by a host name, and only
		// the federation's roots count. InsecureSkipVerify turns off the
		// checks of names and of the machine's roots; verify is called in
		// spite of it, on both sides, and makes those that count here.
		InsecureSkipVerify: true,
		VerifyConnection:   s.verify,
	}
}

// verify decides about the other side's certificates. crypto/tls calls it
// inside Step, and itself checks that the other side has the leaf's key.
func (s *Session) verify(state tls.ConnectionState) error {
	s.refusal = s.accept(state)
	return s.refusal
}

func (s *Session) accept(state tls.ConnectionState) error {
	raw := make([][]byte, len(state.PeerCertificates))
	for i, c := range state.PeerCertificates {
		raw[i] = c.Raw
	}
	peer, err := s.config.Trust.Verify(raw, s.config.Now)
	if err != nil {
		return fmt.Errorf("the other node: %w", err)
	}
	if bytes.Equal(peer.SPKI, s.config.Identity.principal.SPKI) {
		return ErrOwnAccount
	}
	s.peer = peer
	return nil
}

// Step takes the body of a pay_auth message from the other side, nil at the
// initiator's start, and returns the body to answer with, empty if there is
// nothing to say. An error is final; RefusalCode says what to tell the other
// side of it. It is one of ErrHandshake, ErrTranscript, ErrOwnAccount and
// those of Trust.Verify, ErrClosed, or the context's.
func (s *Session) Step(in []byte) (out []byte, err error) {
	if s.err != nil {
		return nil, s.err
	}
	// Empty bodies are refused too, or there would be no end of them.
	if s.done || len(in) == 0 && (s.role == Responder || s.sent > 0) {
		return nil, s.fail(fmt.Errorf("%w (a message when none was due)", ErrHandshake))
	}
	if s.received += len(in); s.received > maxHandshakeBytes {
		return nil, s.fail(fmt.Errorf("%w (more than %d bytes)", ErrHandshake, maxHandshakeBytes))
	}
	if out, err = s.step(in); err != nil {
		return nil, s.fail(err)
	}
	if s.sent += len(out); s.sent > maxHandshakeBytes {
		return nil, s.fail(fmt.Errorf("%w (this node's certificates are too long)", ErrHandshake))
	}
	return out, nil
}

// Done reports whether the keys are there: Seal and Open may be called, and
// Step no more. The initiator is done before the responder has seen its
// certificate; see Authenticated.
func (s *Session) Done() bool { return s.done }

// Authenticated reports whether both sides have accepted each other: the first
// sealed message of the other side has opened. Any goroutine may ask.
func (s *Session) Authenticated() bool { return s.authenticated.Load() }

// Peer returns who the other side is, once the session is done.
func (s *Session) Peer() Principal {
	if !s.done {
		return Principal{}
	}
	return s.peer
}

// Close frees what the handshake holds. Sealing and opening go on working. It
// may be called again, and after any error.
func (s *Session) Close() {
	if !s.done {
		s.fail(ErrClosed)
	}
}

// fail ends the handshake with err, unless it had ended before.
func (s *Session) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	s.release()
	return s.err
}

// release ends crypto/tls's goroutine and waits for it.
func (s *Session) release() {
	if s.quic != nil {
		// Its error is the handshake's, which Step has returned, or that it
		// was stopped, which is what is wanted.
		_ = s.quic.Close()
		s.quic = nil
	}
}

func (s *Session) step(in []byte) (out []byte, err error) {
	out, ended, err := s.drain(nil)
	for err == nil && !ended && len(in) > 0 {
		var level tls.QUICEncryptionLevel
		var data []byte
		if level, data, in, err = cutRecord(in); err != nil {
			return nil, err
		}
		if err := s.quic.HandleData(level, data); err != nil {
			return nil, s.reason(err)
		}
		out, ended, err = s.drain(out)
	}
	switch {
	case err != nil:
		return nil, err
	case len(in) > 0:
		return nil, fmt.Errorf("%w (bytes after the last message)", ErrHandshake)
	case ended:
		return out, s.finish()
	}
	return out, nil
}

// drain does what crypto/tls has decided since, and appends what it sends to
// out. It reports whether the handshake has ended well.
func (s *Session) drain(out []byte) (_ []byte, ended bool, err error) {
	for err == nil {
		switch e := s.quic.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return out, ended, nil
		case tls.QUICErrorEvent:
			err = s.reason(e.Err)
		case tls.QUICWriteData:
			out, err = appendRecord(out, e.Level, e.Data)
		case tls.QUICTransportParameters:
			s.sameTranscript = subtle.ConstantTimeCompare(e.Data, s.config.Transcript[:]) == 1
			if !s.sameTranscript {
				err = ErrTranscript
			}
		case tls.QUICHandshakeDone:
			ended = true
		}
	}
	return nil, false, err
}

// finish takes the keys and lets go of crypto/tls.
func (s *Session) finish() error {
	// crypto/tls refuses a handshake without transport parameters, and calls
	// verify in each one that is not resumed. Neither may depend on it.
	if !s.sameTranscript || s.peer.SPKI == nil {
		return fmt.Errorf("%w (it ended without its checks)", ErrHandshake)
	}
	state := s.quic.ConnectionState()
	material, err := state.ExportKeyingMaterial(exporterLabel, s.config.Transcript[:], exporterBytes)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrHandshake, err)
	}
	defer clear(material)
	initiator, err := newDirection(material[:keyBytes+ivBytes])
	if err != nil {
		return err
	}
	responder, err := newDirection(material[keyBytes+ivBytes:])
	if err != nil {
		return err
	}
	s.sealing, s.opening = initiator, responder
	if s.role == Responder {
		s.sealing, s.opening = responder, initiator
	}
	s.done = true
	s.release()
	return nil
}

// reason puts an error of crypto/tls into the package's words.
func (s *Session) reason(err error) error {
	switch {
	case s.refusal != nil:
		return s.refusal
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	}
	return fmt.Errorf("%w (%w)", ErrHandshake, err)
}
