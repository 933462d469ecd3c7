package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"testing"
)

// FuzzSessionStep gives either role a strange body at each step of an
// otherwise good handshake: instead of the good one, or the good one with some
// bytes replaced.
func FuzzSessionStep(f *testing.F) {
	m := meet(f)
	good, errs := shake(m.start(f), nil)
	if errs != [2]error{} {
		f.Fatal(errs)
	}
	for at, body := range good {
		f.Add(uint8(at), uint16(0), body, false)
		f.Add(uint8(at), uint16(len(body)/2), []byte{0xff, 0, 1}, true)
		f.Add(uint8(at), uint16(0), []byte{levelHandshake, 0, 4, 11, 0, 0, 0}, false)
	}
	f.Add(uint8(0), uint16(0), []byte{}, false)
	f.Fuzz(func(t *testing.T, at uint8, pos uint16, strange []byte, patch bool) {
		var s [2]*Session
		for role := range s {
			s[role] = must[*Session](t)(Start(context.Background(), Role(role), m.config[role]))
			defer s[role].Close()
		}
		changed := false
		_, errs := shake(s, func(i int, body []byte) []byte {
			if i != int(at%3) {
				return body
			}
			sent := bytes.Clone(body)
			if patch {
				copy(body[min(int(pos), len(body)):], strange)
			} else {
				body = strange
			}
			changed = !bytes.Equal(sent, body)
			return body
		})
		switch {
		case changed && s[Responder].Done():
			t.Fatal("a changed handshake ended well")
		case !changed && errs != [2]error{}:
			t.Fatal(errs)
		}
		for role, err := range errs {
			if err != nil && RefusalCode(err) == 0 {
				t.Fatalf("role %d: an error for nobody: %v", role, err)
			}
		}
	})
}

func FuzzCutRecord(f *testing.F) {
	f.Add([]byte{levelInitial, 0, 1, 9, levelHandshake, 0, 2, 8, 7})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		rest := body
		var again []byte
		for len(rest) > 0 {
			var level tls.QUICEncryptionLevel
			var data []byte
			var err error
			if level, data, rest, err = cutRecord(rest); err != nil {
				return
			}
			if len(data) > maxRecordBytes {
				return // appendRecord never makes one
			}
			if again, err = appendRecord(again, level, data); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, body) {
			t.Fatalf("%x became %x", body, again)
		}
	})
}
