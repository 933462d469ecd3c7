package identity

import (
	"errors"
	"fmt"
)

// Why a certificate is refused. A caller tells them apart to answer the other
// node (RefusalCode), and shows them to the user as they are.
var (
	ErrMalformed       = errors.New("the certificate is malformed: enroll again")
	ErrKeyType         = errors.New("the key is not an ECDSA key on P-256: enroll with a key made by this program")
	ErrOtherFederation = errors.New("the certificate was not issued by this federation: enroll in it")
	ErrRootRemoved     = errors.New("the federation removed the root that issued the certificate: enroll again")
	ErrRevoked         = errors.New("the federation revoked the certificate: ask its operator why")
	ErrExpired         = errors.New("the certificate has expired: enroll again with a new invite")
	ErrNotYetValid     = errors.New("the certificate is not valid yet: set the clocks of both machines right")
)

// Why a session ends, beside the reasons above.
var (
	ErrOwnAccount = errors.New("the other node has this node's own account: run one node per key, enroll a second key")
	// ErrTranscript means that the two ends saw different handshakes: somebody
	// between them changed or relayed them.
	ErrTranscript = errors.New("the connection was altered on its way: connect to the other node directly")
	ErrHandshake  = errors.New("the authentication failed: the other node may run another version")
	// ErrNotDone means Seal or Open before the handshake gave the keys.
	ErrNotDone = errors.New("the handshake has not ended yet")
	// ErrTampered means that a sealed message was changed, repeated or moved.
	ErrTampered = errors.New("a sealed message does not open: it was changed, repeated or lost on its way")
	// ErrSpent means that a direction has used up its 2^64 - 1 messages.
	ErrSpent = errors.New("the session has sealed all messages it may: connect again")
	// ErrClosed means that the session was closed before the handshake ended.
	ErrClosed = errors.New("the session is closed")
)

// refusals gives each reason that the other side may be told its code on the
// wire: its index. Code 0 means none.
var refusals = [...]error{
	1:  ErrMalformed,
	2:  ErrKeyType,
	3:  ErrOtherFederation,
	4:  ErrRootRemoved,
	5:  ErrRevoked,
	6:  ErrExpired,
	7:  ErrNotYetValid,
	8:  ErrOwnAccount,
	9:  ErrTranscript,
	10: ErrHandshake,
}

// RefusalCode returns the code that tells the other node why it is refused,
// or 0 if err is no such reason. A refusal by the other node is none: two
// nodes must not send each other's reasons back and forth.
func RefusalCode(err error) uint8 {
	if _, theirs := errors.AsType[*Refused](err); theirs {
		return 0
	}
	for code, reason := range refusals {
		if code > 0 && errors.Is(err, reason) {
			return uint8(code)
		}
	}
	return 0
}

// RefusalOf returns what a code received from the other node means. A code of
// a later version is ErrHandshake's.
func RefusalOf(code uint8) *Refused {
	if code == 0 || int(code) >= len(refusals) {
		return &Refused{ErrHandshake}
	}
	return &Refused{refusals[code]}
}

// Refused is the other node's word that it does not accept this one. Nothing
// proves it: it is for the user to read.
type Refused struct {
	Reason error // one of the errors above, about this node's own certificate
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the other node refused this one: %v", r.Reason)
}
