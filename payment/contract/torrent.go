package contract

import (
	"torrente/metainfo"
	"torrente/payment"
)

// The parts of a torrent row.
const (
	partV1 = 1
	partV2 = 2
)

// registerTorrent computes what a torrent costs from its own description, so
// that nobody has to be believed. Whoever registers it first does it for all.
func (r *run) registerTorrent() Code {
	a := r.tx.Args.(*RegisterTorrent)
	info, err := metainfo.ParseInfo(a.Info)
	if err != nil || len(info.Files) > MaxFiles || info.Units() == 0 {
		return BadTorrent
	}
	if !info.HasV2 && info.PieceLength > metainfo.MaxSoldPieceLengthV1 {
		return BadTorrent // too much would be paid before it can be judged
	}
	if info.Pay == nil || info.Pay.Ledger != r.tx.Ledger.Short() {
		return BadTorrent
	}
	id := payment.TorrentID(info.ID())
	if r.has(keyTorrent(id)) {
		return Already // the id is the hash of all that the row holds
	}
	t := torrent{units: info.Units()}
	if info.HasV1 {
		t.sha1, t.parts = info.HashV1(), partV1
	}
	if info.HasV2 {
		t.parts |= partV2
	}
	r.put(keyTorrent(id), t)
	r.emit(payment.LedgerEvent{Kind: payment.EventTorrent, Torrent: id, Units: t.units})
	return OK
}
