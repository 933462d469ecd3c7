package natpmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// PCP packets (RFC 6887 7.1, 7.2, 11.1):
//
//	request   version  opcode      reserved(2)          lifetime(4)  client address(16)
//	response  version  opcode|128  reserved(1) code(1)  lifetime(4)  epoch(4) reserved(12)
//	MAP       nonce(12)  protocol(1)  reserved(3)  internal port(2)  external port(2)  external address(16)
const (
	pcpVersion  = 2
	pcpResponse = 0x80
	pcpHeader   = 24
	pcpMapSize  = 36
	pcpMost     = 1100 // RFC 6887 7

	opAnnounce = 0
	opMap      = 1
)

// The result codes that are decided by (RFC 6887 7.4).
const (
	pcpSuccess           = 0
	pcpUnsuppVersion     = 1
	pcpNotAuthorized     = 2
	pcpNetworkFailure    = 7
	pcpNoResources       = 8
	pcpUserExQuota       = 10
	pcpCannotProvide     = 11
	pcpAddressMismatch   = 12
	pcpExcessiveRemotePs = 13
)

var pcpResults = []string{
	"SUCCESS", "UNSUPP_VERSION", "NOT_AUTHORIZED", "MALFORMED_REQUEST", "UNSUPP_OPCODE",
	"UNSUPP_OPTION", "MALFORMED_OPTION", "NETWORK_FAILURE", "NO_RESOURCES", "UNSUPP_PROTOCOL",
	"USER_EX_QUOTA", "CANNOT_PROVIDE_EXTERNAL", "ADDRESS_MISMATCH", "EXCESSIVE_REMOTE_PEERS",
}

func pcpRemedy(code int) string {
	switch code {
	case pcpNotAuthorized:
		return remedyAllow
	case pcpNetworkFailure, pcpCannotProvide:
		return remedyNetwork
	case pcpNoResources, pcpUserExQuota, pcpExcessiveRemotePs:
		return remedyRoom
	case pcpAddressMismatch:
		return remedyBetween
	}
	return ""
}

// nonce shows that a renewal comes from who made the mapping (RFC 6887 11.2).
type nonce [12]byte

// mapData is the part of a packet that belongs to MAP.
type mapData struct {
	nonce        nonce
	transport    Transport
	internalPort uint16
	externalPort uint16
	external     netip.Addr
}

// append writes d behind b.
func (d mapData) append(b []byte) []byte {
	b = append(b, d.nonce[:]...)
	b = append(b, byte(d.transport), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, d.internalPort)
	b = binary.BigEndian.AppendUint16(b, d.externalPort)
	return appendAddr(b, d.external)
}

// parseMapData reads what append wrote from the first bytes of b, which are
// enough.
func parseMapData(b []byte) mapData {
	return mapData{
		nonce: nonce(b[:12]), transport: Transport(b[12]),
		internalPort: binary.BigEndian.Uint16(b[16:]), externalPort: binary.BigEndian.Uint16(b[18:]),
		external: netip.AddrFrom16([16]byte(b[20:36])).Unmap(),
	}
}

// appendAddr writes an address in 16 bytes, IPv4 mapped into IPv6 (RFC 6887 5).
func appendAddr(b []byte, a netip.Addr) []byte {
	as16 := a.WithZone("").As16()
	return append(b, as16[:]...)
}

// appendRequest writes a request's header.
func appendRequest(b []byte, opcode byte, lifetime uint32, client netip.Addr) []byte {
	b = append(b, pcpVersion, opcode, 0, 0)
	b = binary.BigEndian.AppendUint32(b, lifetime)
	return appendAddr(b, client)
}

// pcpAnswer is a response.
type pcpAnswer struct {
	opcode   byte
	code     byte
	lifetime uint32
	epoch    uint32
	mapped   mapData // if the opcode is MAP
}

// append writes the response as a server does.
func (a pcpAnswer) append(b []byte) []byte {
	b = append(b, pcpVersion, a.opcode|pcpResponse, 0, a.code)
	b = binary.BigEndian.AppendUint32(b, a.lifetime)
	b = binary.BigEndian.AppendUint32(b, a.epoch)
	b = append(b, make([]byte, 12)...)
	if a.opcode == opMap {
		b = a.mapped.append(b)
	}
	return b
}

// parsePCP reads a response. A server of another version, NAT-PMP among
// them, answers with its own and leads to errVersion (RFC 6887 9).
func parsePCP(b []byte) (pcpAnswer, error) {
	if len(b) < 4 || b[1]&pcpResponse == 0 {
		return pcpAnswer{}, errors.New("not a response")
	}
	if b[0] != pcpVersion || b[3] == pcpUnsuppVersion {
		return pcpAnswer{}, errVersion
	}
	if len(b) < pcpHeader || len(b) > pcpMost || len(b)%4 != 0 {
		return pcpAnswer{}, fmt.Errorf("a response of %d bytes", len(b))
	}
	a := pcpAnswer{
		opcode: b[1] &^ pcpResponse, code: b[3],
		lifetime: binary.BigEndian.Uint32(b[4:]), epoch: binary.BigEndian.Uint32(b[8:]),
	}
	if a.opcode != opMap {
		return a, nil
	}
	if len(b) < pcpHeader+pcpMapSize {
		return pcpAnswer{}, fmt.Errorf("a MAP response of %d bytes", len(b))
	}
	a.mapped = parseMapData(b[pcpHeader:])
	return a, nil
}

// refused returns the refusal of an answer that is no success.
func (a pcpAnswer) refused() error {
	if a.code == pcpSuccess {
		return nil
	}
	name := "unknown result"
	if int(a.code) < len(pcpResults) {
		name = pcpResults[a.code]
	}
	return &refusal{protocol: PCP, code: int(a.code), name: name, retry: boundLifetime(a.lifetime)}
}
