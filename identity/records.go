package identity

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
)

// The body of a pay_auth message (B1) is a sequence of records:
//
//	0  level u8   0 initial, 1 handshake
//	1  n u16      big endian, at least 1
//	3  n bytes of TLS handshake messages, cut anywhere
//
// All bodies that one side sends hold at most 16 KiB, record headers included.
const (
	recordHeaderBytes = 3
	maxHandshakeBytes = 16 * 1024
	maxRecordBytes    = maxHandshakeBytes - recordHeaderBytes

	levelInitial   = 0
	levelHandshake = 1
)

// appendRecord writes what crypto/tls gave for one level. It never gives more
// than a handshake may hold, or Session has refused it before.
func appendRecord(body []byte, level tls.QUICEncryptionLevel, data []byte) ([]byte, error) {
	var wire byte
	switch level {
	case tls.QUICEncryptionLevelInitial:
		wire = levelInitial
	case tls.QUICEncryptionLevelHandshake:
		wire = levelHandshake
	default:
		return nil, fmt.Errorf("%w (nothing is sent at level %v)", ErrHandshake, level)
	}
	if len(data) > maxRecordBytes {
		return nil, fmt.Errorf("%w (this node's certificates are too long)", ErrHandshake)
	}
	body = append(body, wire)
	body = binary.BigEndian.AppendUint16(body, uint16(len(data)))
	return append(body, data...), nil
}

// cutRecord returns the first record of a body, in place, and what follows.
func cutRecord(body []byte) (level tls.QUICEncryptionLevel, data, rest []byte, err error) {
	if len(body) < recordHeaderBytes {
		return 0, nil, nil, fmt.Errorf("%w (a record ends in its header)", ErrHandshake)
	}
	switch body[0] {
	case levelInitial:
		level = tls.QUICEncryptionLevelInitial
	case levelHandshake:
		level = tls.QUICEncryptionLevelHandshake
	default:
		return 0, nil, nil, fmt.Errorf("%w (a record has the unknown level %d)", ErrHandshake, body[0])
	}
	n := int(binary.BigEndian.Uint16(body[1:]))
	body = body[recordHeaderBytes:]
	if n == 0 || n > len(body) {
		return 0, nil, nil, fmt.Errorf("%w (a record of %d bytes with %d left)", ErrHandshake, n, len(body))
	}
	return level, body[:n:n], body[n:], nil
}
