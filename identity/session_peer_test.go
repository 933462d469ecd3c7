package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"errors"
	"testing"
)

func rawConfig(id *Identity) *tls.Config {
	return &tls.Config{
		Certificates:     []tls.Certificate{id.TLS()},
		NextProtos:       []string{"torrente-pay/1"},
		CurvePreferences: []tls.CurveID{tls.X25519},
		ClientAuth:       tls.RequireAnyClientCert,
	}
}

// An end written from the specification meets ours, in either role, and both
// open what the other sealed.
func TestSessionWithAnotherImplementation(t *testing.T) {
	m := meet(t)
	transcript := m.config[Initiator].Transcript
	for role := range Role(2) {
		ours := must[*Session](t)(Start(t.Context(), role, m.config[role]))
		defer ours.Close()
		theirs := newRawPeer(t, role == Responder, transcript[:], rawConfig(m.ids[1-role]))
		var body []byte
		if role == Responder {
			body = theirs.step(nil)
		}
		for !ours.Done() {
			body = theirs.step(must[[]byte](t)(ours.Step(body)))
		}
		state := theirs.quic.ConnectionState()
		material := must[[]byte](t)(state.ExportKeyingMaterial("EXPORTER-torrente-pay-1", transcript[:], 56))
		byInitiator, byResponder := material[:28], material[28:]
		if role == Responder {
			byInitiator, byResponder = byResponder, byInitiator
		}
		for i := range byte(3) {
			// Message i under IV xor i; ours seals as role, opens as the other.
			sealed := must[[]byte](t)(ours.Seal(nil, []byte{i}))
			if got, err := rawAEAD(t, byInitiator).Open(nil, rawNonce(byInitiator, i), sealed, nil); err != nil || got[0] != i {
				t.Errorf("role %d, message %d: %x, %v", role, i, got, err)
			}
			sealed = rawAEAD(t, byResponder).Seal(nil, rawNonce(byResponder, i), []byte{i}, nil)
			if got, err := ours.Open(nil, sealed); err != nil || got[0] != i {
				t.Errorf("role %d, message %d from the other: %x, %v", role, i, got, err)
			}
		}
	}
}

func rawAEAD(t testing.TB, material []byte) cipher.AEAD {
	t.Helper()
	return must[cipher.AEAD](t)(cipher.NewGCM(must[cipher.Block](t)(aes.NewCipher(material[:16]))))
}

func rawNonce(material []byte, i byte) []byte {
	nonce := append([]byte(nil), material[16:28]...)
	nonce[11] ^= i
	return nonce
}

// Ends that do not compare transcripts, in each role, meet ends that do.
func TestSessionWithLaxPeer(t *testing.T) {
	m := meet(t)
	good := m.config[Initiator].Transcript
	for _, c := range []struct {
		name   string
		params []byte
	}{
		{"another transcript", make([]byte, 32)},
		{"a short transcript", good[:31]},
		{"a long transcript", append(good[:], 0)},
		{"an empty transcript", []byte{}},
	} {
		for role := range Role(2) {
			t.Run(c.name+[]string{" from the responder", " from the initiator"}[role], func(t *testing.T) {
				config := rawConfig(m.ids[1-role])
				if err := meetRaw(t, m, role, c.params, config); !errors.Is(err, ErrTranscript) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// An initiator without what the responder asks of it.
func TestSessionWithPoorInitiator(t *testing.T) {
	m := meet(t)
	for name, change := range map[string]func(*tls.Config){
		"no certificate":   func(c *tls.Config) { c.Certificates = nil },
		"another protocol": func(c *tls.Config) { c.NextProtos = []string{"h3"} },
		"no X25519":        func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} },
		"a key it does not have": func(c *tls.Config) {
			c.Certificates[0].PrivateKey = m.ids[Responder].Key()
		},
	} {
		config := rawConfig(m.ids[Initiator])
		change(config)
		transcript := m.config[Responder].Transcript
		if err := meetRaw(t, m, Responder, transcript[:], config); !errors.Is(err, ErrHandshake) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// meetRaw returns the error of our session in role against a raw peer.
func meetRaw(t *testing.T, m *meeting, role Role, params []byte, config *tls.Config) error {
	t.Helper()
	ours := must[*Session](t)(Start(t.Context(), role, m.config[role]))
	defer ours.Close()
	theirs := newRawPeer(t, role == Responder, params, config)
	var body []byte
	if role == Responder {
		body = theirs.step(nil)
	}
	for !ours.Done() {
		out, err := ours.Step(body)
		if err != nil {
			return err
		}
		body = theirs.step(out)
	}
	return nil
}
