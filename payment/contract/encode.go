package contract

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// How the arguments of each call are written and read. read accepts nothing
// that append would not write: a call has one encoding.

func (a *RegisterTorrent) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(a.Info))), a.Info...)
}

func (a *RegisterTorrent) read(in *cryptobyte.String) bool {
	var n uint32
	return in.ReadUint32(&n) && n <= MaxInfo && in.ReadBytes(&a.Info, int(n))
}

func appendOpen(b []byte, o *Open) []byte {
	return binary.BigEndian.AppendUint32(o.Commitment.Append(b), o.Cap)
}

func readOpen(in *cryptobyte.String, o *Open) bool {
	return readCommitment(in, &o.Commitment) && in.ReadUint32(&o.Cap)
}

func (a *Declare) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, a.Torrent[:]...), a.Units)
	b = binary.BigEndian.AppendUint16(b, a.Margin)
	b = binary.BigEndian.AppendUint64(b, uint64(a.MaxPrice))
	b = appendList(b, a.Opens, appendOpen)
	if len(a.Credits) == 0 { // the list is not there: so it was before there were credits
		return b
	}
	return appendList(b, a.Credits, appendTxID)
}

func (a *Declare) read(in *cryptobyte.String) bool {
	return in.CopyBytes(a.Torrent[:]) && in.ReadUint64(&a.Units) && in.ReadUint16(&a.Margin) &&
		in.ReadUint64((*uint64)(&a.MaxPrice)) && readList(in, &a.Opens, readOpen) &&
		(in.Empty() || readSome(in, &a.Credits, readTxID))
}

func (a *AddFunds) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, a.Intention[:]...), a.Units)
	return binary.BigEndian.AppendUint16(b, a.Margin)
}

func (a *AddFunds) read(in *cryptobyte.String) bool {
	return in.CopyBytes(a.Intention[:]) && in.ReadUint64(&a.Units) && in.ReadUint16(&a.Margin)
}

func (a *OpenMany) append(b []byte) []byte          { return appendList(b, a.Opens, appendOpen) }
func (a *OpenMany) read(in *cryptobyte.String) bool { return readSome(in, &a.Opens, readOpen) }

func appendTopUp(b []byte, t *TopUp) []byte {
	return binary.BigEndian.AppendUint32(append(append(b, t.Commitment[:]...), t.K), t.Cap)
}

func readTopUp(in *cryptobyte.String, t *TopUp) bool {
	return in.CopyBytes(t.Commitment[:]) && in.ReadUint8(&t.K) && t.K > 0 && t.K < MaxCaps && in.ReadUint32(&t.Cap)
}

func (a *TopUpMany) append(b []byte) []byte          { return appendList(b, a.TopUps, appendTopUp) }
func (a *TopUpMany) read(in *cryptobyte.String) bool { return readSome(in, &a.TopUps, readTopUp) }

func appendRedeem(b []byte, r *Redeem) []byte {
	b = append(append(b, r.Commitment[:]...), r.K)
	return append(binary.BigEndian.AppendUint32(b, r.Index), r.Link[:]...)
}

func readRedeem(in *cryptobyte.String, r *Redeem) bool {
	return in.CopyBytes(r.Commitment[:]) && in.ReadUint8(&r.K) && r.K < MaxCaps &&
		in.ReadUint32(&r.Index) && r.Index > 0 && r.Index <= payment.MaxLinks && in.CopyBytes(r.Link[:])
}

func (a *RedeemMany) append(b []byte) []byte { return appendList(b, a.Redeems, appendRedeem) }

func (a *RedeemMany) read(in *cryptobyte.String) bool { return readSome(in, &a.Redeems, readRedeem) }

func appendRelease(b []byte, r *Release) []byte { return append(r.Close.Append(b), r.K) }

func readRelease(in *cryptobyte.String, r *Release) bool {
	c, ok := payment.ReadSignedClose(in)
	if !ok || !in.ReadUint8(&r.K) || r.K >= MaxCaps {
		return false
	}
	r.Close = *c
	return true
}

func (a *ReleaseMany) append(b []byte) []byte { return appendList(b, a.Releases, appendRelease) }

func (a *ReleaseMany) read(in *cryptobyte.String) bool { return readSome(in, &a.Releases, readRelease) }

func (a *Close) append(b []byte) []byte          { return append(b, a.Intention[:]...) }
func (a *Close) read(in *cryptobyte.String) bool { return in.CopyBytes(a.Intention[:]) }

func appendSettle(b []byte, s *Settle) []byte { return append(append(b, s.Commitment[:]...), s.K) }

func readSettle(in *cryptobyte.String, s *Settle) bool {
	return in.CopyBytes(s.Commitment[:]) && in.ReadUint8(&s.K) && s.K < MaxCaps
}

func (a *Refund) append(b []byte) []byte          { return appendList(b, a.Settles, appendSettle) }
func (a *Refund) read(in *cryptobyte.String) bool { return readSome(in, &a.Settles, readSettle) }

func appendTxID(b []byte, id *TxID) []byte { return append(b, id[:]...) }

func readTxID(in *cryptobyte.String, id *TxID) bool { return in.CopyBytes(id[:]) }

func (a *Sweep) append(b []byte) []byte { return appendList(b, a.Credits, appendTxID) }

func (a *Sweep) read(in *cryptobyte.String) bool { return readSome(in, &a.Credits, readTxID) }

func (a *Inherit) append(b []byte) []byte {
	return appendList(append(b, a.From[:]...), a.Credits, appendTxID)
}

func (a *Inherit) read(in *cryptobyte.String) bool {
	return in.CopyBytes(a.From[:]) && readList(in, &a.Credits, readTxID)
}

func (a *Propose) append(b []byte) []byte { return appendDecision(b, a.Decision) }

func (a *Propose) read(in *cryptobyte.String) bool { return readDecision(in, &a.Decision) }

func (a *Approve) append(b []byte) []byte          { return append(b, a.Proposal[:]...) }
func (a *Approve) read(in *cryptobyte.String) bool { return in.CopyBytes(a.Proposal[:]) }

func (a *Transfer) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, a.To[:]...), uint64(a.Coins))
}

func (a *Transfer) read(in *cryptobyte.String) bool {
	return in.CopyBytes(a.To[:]) && in.ReadUint64((*uint64)(&a.Coins))
}

func (a *SetDelegate) append(b []byte) []byte          { return append(b, a.Delegate[:]...) }
func (a *SetDelegate) read(in *cryptobyte.String) bool { return in.CopyBytes(a.Delegate[:]) }

func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func appendBytes(b, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

func readMSP(in *cryptobyte.String, msp *string) bool {
	var s cryptobyte.String
	if !in.ReadUint8LengthPrefixed(&s) {
		return false
	}
	*msp = string(s)
	return validMSP(*msp)
}

func readBytes(in *cryptobyte.String, data *[]byte, most int) bool {
	var s cryptobyte.String
	if !in.ReadUint16LengthPrefixed(&s) || len(s) > most || len(s) == 0 {
		return false
	}
	*data = s
	return true
}

func (a *Revoke) append(b []byte) []byte { return appendBytes(appendText(b, a.MSP), a.SPKI) }

func (a *Revoke) read(in *cryptobyte.String) bool {
	return readMSP(in, &a.MSP) && readBytes(in, &a.SPKI, maxSPKIBytes)
}

func (a *Reinstate) append(b []byte) []byte          { return append(b, a.Account[:]...) }
func (a *Reinstate) read(in *cryptobyte.String) bool { return in.CopyBytes(a.Account[:]) }

func (a *AddRoot) append(b []byte) []byte { return appendBytes(appendText(b, a.MSP), a.Certificate) }

func (a *AddRoot) read(in *cryptobyte.String) bool {
	return readMSP(in, &a.MSP) && readBytes(in, &a.Certificate, maxRootBytes)
}

func (a *RemoveRoot) append(b []byte) []byte {
	return append(appendText(b, a.MSP), a.Fingerprint[:]...)
}

func (a *RemoveRoot) read(in *cryptobyte.String) bool {
	return readMSP(in, &a.MSP) && in.CopyBytes(a.Fingerprint[:])
}
