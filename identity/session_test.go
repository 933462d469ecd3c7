package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// meeting is two nodes of one federation, and what they believe.
type meeting struct {
	authority *Authority
	ids       [2]*Identity // by role
	trusts    [2]*Trust
	config    [2]SessionConfig
}

func meet(t testing.TB) *meeting {
	t.Helper()
	a := newAuthority(t, "Org1MSP")
	m := &meeting{authority: a}
	for role, name := range []string{"alice", "bob"} {
		m.ids[role] = newMember(t, a, name)
		m.trusts[role] = trusting(t, a)
		m.config[role] = SessionConfig{Identity: m.ids[role], Trust: m.trusts[role], Transcript: [32]byte{1, 2, 3}, Now: today}
	}
	return m
}

func (m *meeting) start(t testing.TB) (s [2]*Session) {
	t.Helper()
	for role := range s {
		s[role] = must[*Session](t)(Start(t.Context(), Role(role), m.config[role]))
		t.Cleanup(s[role].Close)
	}
	return s
}

// shake carries bodies between two sessions until nothing is left to say or
// one side fails. change may alter the i-th body on its way.
func shake(s [2]*Session, change func(i int, body []byte) []byte) (bodies [][]byte, errs [2]error) {
	var body []byte
	for i := 0; ; i++ {
		at := i % 2
		if body, errs[at] = s[at].Step(body); errs[at] != nil || len(body) == 0 {
			return bodies, errs
		}
		bodies = append(bodies, bytes.Clone(body))
		if change != nil {
			body = change(i, body)
		}
	}
}

// shaken returns two sessions that are done.
func shaken(t testing.TB) [2]*Session {
	t.Helper()
	s := meet(t).start(t)
	if _, errs := shake(s, nil); errs != [2]error{} {
		t.Fatal(errs)
	}
	return s
}

func TestSessionAuthenticatesBoth(t *testing.T) {
	m := meet(t)
	s := m.start(t)
	bodies, errs := shake(s, nil)
	if errs != [2]error{} {
		t.Fatal(errs)
	}
	sum := 0
	for _, b := range bodies {
		sum += len(b)
		t.Logf("body of %d bytes", len(b))
	}
	// ClientHello; ServerHello to Finished; Certificate to Finished.
	if len(bodies) != 3 || sum > 2048 {
		t.Errorf("%d bodies, %d bytes", len(bodies), sum)
	}
	for role, own := range s {
		other := s[1-role]
		if !own.Done() || own.Authenticated() {
			t.Fatalf("role %d: done %v, authenticated %v before a sealed message", role, own.Done(), own.Authenticated())
		}
		if !own.Peer().Equal(m.ids[1-role].Principal()) {
			t.Errorf("role %d takes the other for %+v", role, own.Peer())
		}
		sealed := must[[]byte](t)(other.Seal(nil, nil))
		if _, err := own.Open(nil, sealed); err != nil || !own.Authenticated() {
			t.Errorf("role %d: %v, authenticated %v", role, err, own.Authenticated())
		}
	}
}

func TestSessionRefuses(t *testing.T) {
	stranger := newAuthority(t, "Org1MSP")
	for _, c := range []struct {
		name    string
		change  func(m *meeting, refused int)
		refused error
	}{
		{"another federation", func(m *meeting, r int) {
			m.config[r].Identity = newMember(t, stranger, "eve")
		}, ErrOtherFederation},
		{"key revoked", func(m *meeting, r int) {
			m.trusts[1-r].RevokeKey(m.ids[r].Principal().KeyID())
		}, ErrRevoked},
		{"serial number revoked", func(m *meeting, r int) {
			m.trusts[1-r].RevokeSerial(m.ids[r].Leaf().SerialNumber)
		}, ErrRevoked},
		{"root removed", func(m *meeting, r int) {
			m.trusts[1-r].RemoveRoot("Org1MSP", m.authority.Root())
		}, ErrRootRemoved},
		{"expired", func(m *meeting, r int) {
			m.config[r].Identity = issue(t, m.authority, newKey(t), "eve", today, day)
			m.config[1-r].Now = today.Add(2 * day)
		}, ErrExpired},
		{"not yet valid", func(m *meeting, r int) {
			m.config[r].Identity = issue(t, m.authority, newKey(t), "eve", today.Add(day), day)
		}, ErrNotYetValid},
	} {
		for refused := range 2 {
			t.Run(c.name+[]string{", initiator", ", responder"}[refused], func(t *testing.T) {
				m := meet(t)
				c.change(m, refused)
				s := m.start(t)
				_, errs := shake(s, nil)
				if !errors.Is(errs[1-refused], c.refused) {
					t.Fatalf("got %v, want %v", errs[1-refused], c.refused)
				}
				checkRefusal(t, s, errs[1-refused], refused)
			})
		}
	}
}

// checkRefusal checks what both sides are left with after a refusal.
func checkRefusal(t *testing.T, s [2]*Session, err error, refused int) {
	t.Helper()
	if got := RefusalOf(RefusalCode(err)); !errors.Is(err, got.Reason) {
		t.Errorf("the other side would be told %v of %v", got, err)
	}
	refusing := s[1-refused]
	if refusing.Done() || refusing.Peer().SPKI != nil {
		t.Error("the refusing side has keys or a peer")
	}
	if _, again := refusing.Step([]byte{1}); !errors.Is(again, err) {
		t.Errorf("the error is not final: %v", again)
	}
	if _, err := refusing.Seal(nil, nil); !errors.Is(err, ErrNotDone) {
		t.Errorf("the refusing side seals: %v", err)
	}
	// The initiator has its keys before the responder refuses it: that is why
	// Done is not Authenticated.
	if s[refused].Authenticated() || s[refused].Done() != (refused == int(Initiator)) {
		t.Errorf("the refused side: done %v, authenticated %v", s[refused].Done(), s[refused].Authenticated())
	}
}

// Both sides see a node meet its own account; the initiator sees it first.
func TestSessionOwnAccount(t *testing.T) {
	m := meet(t)
	m.config[Responder].Identity = issue(t, m.authority, m.ids[Initiator].Key(), "alice's second", today, day)
	s := m.start(t)
	if _, errs := shake(s, nil); !errors.Is(errs[Initiator], ErrOwnAccount) || s[0].Done() || s[1].Done() {
		t.Errorf("seen by the initiator: %v", errs)
	}
	config := rawConfig(m.config[Initiator].Identity)
	transcript := m.config[Responder].Transcript
	if err := meetRaw(t, m, Responder, transcript[:], config); !errors.Is(err, ErrOwnAccount) {
		t.Errorf("seen by the responder: %v", err)
	}
}

func TestSessionTranscriptsDiffer(t *testing.T) {
	for _, bit := range []int{0, 7, 128, 255} {
		m := meet(t)
		m.config[1].Transcript[bit/8] ^= 1 << (bit % 8)
		s := m.start(t)
		if _, errs := shake(s, nil); !errors.Is(errs[Responder], ErrTranscript) || s[0].Done() || s[1].Done() {
			t.Errorf("bit %d: %v", bit, errs)
		}
	}
}

func TestSessionChainTooLong(t *testing.T) {
	for role := range 2 {
		m := meet(t)
		own := *m.ids[role]
		// The other side would refuse it; crypto/tls itself takes 64 KiB.
		huge := sign(t, m.authority, &x509.Certificate{Subject: own.Leaf().Subject, DNSNames: longNames(maxHandshakeBytes)}, &own.key.PublicKey)
		own.chain = []*x509.Certificate{huge}
		m.config[role].Identity = &own
		s := m.start(t)
		if _, errs := shake(s, nil); !errors.Is(errs[role], ErrHandshake) || s[1-role].Done() {
			t.Errorf("role %d: %v", role, errs)
		}
	}
}

func longNames(sum int) (names []string) {
	for len(names)*60 < sum {
		names = append(names, string(bytes.Repeat([]byte("x"), 60)))
	}
	return names
}

// A handshake message that never ends is cut off at 16 KiB, in one body or in
// many, and the process holds no more than that of it.
func TestSessionHandshakeTooLong(t *testing.T) {
	for _, piece := range []int{1, 100, 4096, maxRecordBytes, 65535} {
		m := meet(t)
		s := m.start(t)[Responder]
		endless := append([]byte{1, 0, 0xff, 0xff}, make([]byte, 70_000)...) // ClientHello of 65,535 bytes
		sum := 0
		for {
			n := min(piece, len(endless))
			body := append([]byte{levelInitial, byte(n >> 8), byte(n)}, endless[:n]...)
			endless = endless[n:]
			sum += len(body)
			if out, err := s.Step(body); err != nil {
				if !errors.Is(err, ErrHandshake) {
					t.Errorf("pieces of %d: %v", piece, err)
				}
				break
			} else if len(out) > 0 || sum > maxHandshakeBytes {
				t.Fatalf("pieces of %d: %d bytes were taken", piece, sum)
			}
		}
		if sum <= maxHandshakeBytes {
			t.Errorf("pieces of %d: refused after %d bytes", piece, sum)
		}
	}
}

func TestSessionGarbage(t *testing.T) {
	for what, garbage := range map[string][]byte{
		"half a header":     {levelInitial, 0},
		"empty record":      {levelInitial, 0, 0},
		"record too long":   {levelInitial, 0, 5, 1, 2, 3},
		"unknown level":     {2, 0, 1, 0},
		"early data":        {3, 0, 1, 0},
		"wrong level first": {levelHandshake, 0, 4, 20, 0, 0, 0},
		"unknown message":   {levelInitial, 0, 4, 0x77, 0, 0, 0},
		"hello request":     {levelInitial, 0, 4, 0, 0, 0, 0},
		"empty hello":       {levelInitial, 0, 4, 1, 0, 0, 0},
		"a byte after":      {levelInitial, 0, 4, 1, 0, 0, 0, 9},
	} {
		for at := range 3 {
			s := meet(t).start(t)
			_, errs := shake(s, func(i int, body []byte) []byte {
				if i == at {
					return garbage
				}
				return body
			})
			if got := errs[(at+1)%2]; !errors.Is(got, ErrHandshake) {
				t.Errorf("%s instead of body %d: %v", what, at, got)
			}
		}
	}
}

// Whatever byte is changed on the way, nobody is authenticated.
func TestSessionEveryByteCounts(t *testing.T) {
	m := meet(t)
	bodies, _ := shake(m.start(t), nil)
	for at, body := range bodies {
		for pos := at; pos < len(body); pos += 3 {
			s := m.start(t)
			// Signatures differ in length by a byte or two from run to run.
			_, errs := shake(s, func(i int, body []byte) []byte {
				if i == at {
					body[min(pos, len(body)-1)] ^= 1 << (pos % 8)
				}
				return body
			})
			// A length made longer lets one side wait for more: no error, but
			// no keys either, until the caller's deadline. The initiator of a
			// changed last body has keys that nobody shares.
			if s[Responder].Done() || s[Initiator].Done() && at < 2 {
				t.Fatalf("byte %d of body %d changed: %v", pos, at, errs)
			}
			for _, one := range s {
				one.Close()
			}
		}
	}
}

func TestSessionOutOfTurn(t *testing.T) {
	s := meet(t).start(t)
	if _, err := s[Responder].Step(nil); !errors.Is(err, ErrHandshake) {
		t.Errorf("the responder begins: %v", err)
	}
	if _, err := s[Initiator].Step(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s[Initiator].Step(nil); !errors.Is(err, ErrHandshake) {
		t.Errorf("an empty body: %v", err)
	}
	done := shaken(t)
	for role, one := range done {
		if _, err := one.Step([]byte{levelHandshake, 0, 4, 4, 0, 0, 0}); !errors.Is(err, ErrHandshake) {
			t.Errorf("role %d takes a message after the last: %v", role, err)
		}
	}
	// A ticket, or anything, behind the last message in its body.
	s = meet(t).start(t)
	_, errs := shake(s, func(i int, body []byte) []byte {
		if i == 2 {
			body = append(body, levelHandshake, 0, 1, 0)
		}
		return body
	})
	if !errors.Is(errs[Responder], ErrHandshake) || s[Responder].Done() {
		t.Errorf("bytes after the last message: %v", errs)
	}
}

// A body may be cut into records anywhere, as another implementation would.
func TestSessionRecordsOfOneByte(t *testing.T) {
	s := meet(t).start(t)
	_, errs := shake(s, func(_ int, body []byte) (cut []byte) {
		for len(body) > 0 {
			_, data, rest, err := cutRecord(body)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range data {
				cut = append(cut, body[0], 0, 1, b)
			}
			body = rest
		}
		return cut
	})
	if errs != [2]error{} || !s[0].Done() || !s[1].Done() {
		t.Error(errs)
	}
}

// Each way a session can end frees crypto/tls's goroutine: a bubble ends only
// when all goroutines in it have.
func TestSessionCloses(t *testing.T) {
	for stop := range 5 {
		synctest.Test(t, func(t *testing.T) {
			m := meet(t)
			var s [2]*Session
			for role := range s {
				s[role] = must[*Session](t)(Start(context.Background(), Role(role), m.config[role]))
			}
			var body []byte
			for i := range stop {
				body = must[[]byte](t)(s[i%2].Step(body))
			}
			for _, one := range s {
				one.Close()
				one.Close()
				if done := one.Done(); done != (one.err == nil) || done && stop < 3 {
					t.Errorf("after %d steps: done %v, %v", stop, done, one.err)
				}
				if _, err := one.Step([]byte{1}); err == nil {
					t.Errorf("after %d steps and Close: a step", stop)
				}
			}
		})
	}
}

func TestSessionContextEnds(t *testing.T) {
	m := meet(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	s := must[*Session](t)(Start(ctx, Initiator, m.config[Initiator]))
	defer s.Close()
	if _, err := s.Step(nil); err != nil {
		t.Fatal(err)
	}
	late := errors.New("the other node took over 10 s")
	cancel(late)
	if _, err := s.Step([]byte{levelInitial, 0, 1, 2}); !errors.Is(err, late) {
		t.Errorf("got %v", err)
	}
}

func TestRefusalCodes(t *testing.T) {
	for code := range 256 {
		r := RefusalOf(uint8(code))
		if r.Reason == nil || r.Error() == "" {
			t.Fatalf("code %d has no reason", code)
		}
		if back := RefusalCode(r.Reason); code > 0 && code < len(refusals) && int(back) != code {
			t.Errorf("code %d comes back as %d", code, back)
		}
		if RefusalCode(r) != 0 {
			t.Errorf("code %d would be sent back to who sent it", code)
		}
	}
	for _, err := range []error{nil, ErrClosed, ErrTampered, context.Canceled} {
		if code := RefusalCode(err); code != 0 {
			t.Errorf("%v has the code %d", err, code)
		}
	}
}

// rawPeer is the other end written from docs/protocol.md alone, over crypto/tls
// and without this package's session, to hold the two against each other. It
// checks neither transcript nor certificate.
type rawPeer struct {
	t    testing.TB
	quic *tls.QUICConn
}

func newRawPeer(t testing.TB, initiator bool, params []byte, config *tls.Config) *rawPeer {
	t.Helper()
	config.MinVersion, config.InsecureSkipVerify = tls.VersionTLS13, true
	config.Time = func() time.Time { return today }
	p := &rawPeer{t, nil}
	if initiator {
		p.quic = tls.QUICClient(&tls.QUICConfig{TLSConfig: config})
	} else {
		p.quic = tls.QUICServer(&tls.QUICConfig{TLSConfig: config})
	}
	p.quic.SetTransportParameters(params)
	if err := p.quic.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.quic.Close() })
	return p
}

func (p *rawPeer) step(in []byte) (out []byte) {
	levels := []tls.QUICEncryptionLevel{tls.QUICEncryptionLevelInitial, tls.QUICEncryptionLevelHandshake}
	for len(in) > 0 {
		n := int(in[1])<<8 | int(in[2])
		if err := p.quic.HandleData(levels[in[0]], in[3:3+n]); err != nil {
			p.t.Fatal(err)
		}
		in = in[3+n:]
	}
	for {
		switch e := p.quic.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return out
		case tls.QUICWriteData:
			level := map[tls.QUICEncryptionLevel]byte{levels[0]: 0, levels[1]: 1}[e.Level]
			out = append(append(out, level, byte(len(e.Data)>>8), byte(len(e.Data))), e.Data...)
		case tls.QUICErrorEvent:
			p.t.Fatal(e.Err)
		}
	}
}
