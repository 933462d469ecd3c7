package wallet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// Opening is a chain that this account pays with.
type Opening struct {
	Commitment payment.Commitment
	Signature  payment.Signature
	Request    payment.RequestID // of the transaction that opens it
	Cap        uint32            // units; what was asked of the ledger, perhaps not yet registered
	Released   uint32            // index of the last link sent, as far as known: see Wallet.Released
	Owed       uint32            // how many units are owed: see Wallet.OwedUnits
	Ended      bool              // on the ledger, with Final
	Final      uint32            // index up to which it was paid
}

// opening is what memory holds of one.
type opening struct {
	Opening
	id    payment.CommitmentID
	units unitSet
	// dirty means that wallet.db lacks something of it, and changed which
	// chunks of units that is.
	dirty   bool
	changed map[uint32]struct{}
	recent  uint32 // the chunk that was put in changed last, if marked
	marked  bool
}

// bought is the payer's half of a wallet.
type bought struct {
	mu         sync.Mutex // guards the following; held during writes to log, and folds
	openings   map[payment.CommitmentID]*opening
	intentions map[payment.IntentionID]Intention
	log        appendLog
}

func newOpening(id payment.CommitmentID, o Opening) *opening {
	return &opening{Opening: o, id: id, units: newUnitSet(), changed: map[uint32]struct{}{}}
}

// append adds the row: commitment 256, signature 64, request 16, cap u32,
// released u32, ended u8, final u32.
func (o *Opening) append(b []byte) []byte {
	b = o.Commitment.Append(b)
	b = append(append(b, o.Signature[:]...), o.Request[:]...)
	b = binary.BigEndian.AppendUint32(b, o.Cap)
	b = binary.BigEndian.AppendUint32(b, o.Released)
	b = appendBool(b, o.Ended)
	return binary.BigEndian.AppendUint32(b, o.Final)
}

func parseOpening(b []byte) (o Opening, ok bool) {
	in := cryptobyte.String(b)
	ok = readCommitment(&in, &o.Commitment) && in.CopyBytes(o.Signature[:]) && in.CopyBytes(o.Request[:]) &&
		in.ReadUint32(&o.Cap) && in.ReadUint32(&o.Released) && readBool(&in, &o.Ended) &&
		in.ReadUint32(&o.Final) && in.Empty() &&
		max(o.Cap, o.Released, o.Final) <= o.Commitment.Links
	return o, ok
}

func readCommitment(in *cryptobyte.String, to *payment.Commitment) bool {
	var raw []byte
	if !in.ReadBytes(&raw, payment.CommitmentBytes) {
		return false
	}
	c, err := payment.ParseCommitment(raw)
	if err != nil {
		return false
	}
	*to = *c
	return true
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func readBool(in *cryptobyte.String, v *bool) bool {
	var n uint8
	ok := in.ReadUint8(&n) && n <= 1
	*v = n == 1
	return ok
}

func (b *bought) loadOpening(key, value []byte) bool {
	o, ok := parseOpening(value)
	id := o.Commitment.ID()
	if !ok || string(id[:]) != string(key) {
		return false
	}
	b.openings[id] = newOpening(id, o)
	return true
}

// Openings returns all that are not forgotten, in the order of their ids.
func (w *Wallet) Openings() []Opening {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Opening, 0, len(b.openings))
	for _, id := range slices.SortedFunc(maps.Keys(b.openings), compareIDs) {
		all = append(all, b.openings[id].Opening)
	}
	return all
}

func compareIDs(a, b payment.CommitmentID) int { return slices.Compare(a[:], b[:]) }

// Opening returns one, and false if the wallet does not hold it.
func (w *Wallet) Opening(id payment.CommitmentID) (Opening, bool) {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.openings[id]; o != nil {
		return o.Opening, true
	}
	return Opening{}, false
}

// Released notes that the link of an index was sent, or that its receiver has
// shown it in pay_resume: only the payer can have made it. It never goes back.
// It is on the disk at the next fold; after a crash the receiver tells. The
// errors are ErrUnknown and ErrRange.
func (w *Wallet) Released(id payment.CommitmentID, index uint32) error {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.openings[id]
	switch {
	case o == nil:
		return fmt.Errorf("%w: %s", ErrUnknown, id)
	case index > o.Commitment.Links:
		return fmt.Errorf("%w: %d of %s", ErrRange, index, id)
	case index > o.Released:
		o.Released, o.dirty = index, true
	}
	return nil
}

// fold writes what wallet.db lacks.
func (o *opening) fold(tx *bolt.Tx) error {
	err := put(tx, openingBucket, o.id[:], o.append(nil))
	for at := range o.changed {
		err = errors.Join(err, put(tx, owedBucket, chunkKey(o.id, at), o.units.chunks[at].append(nil)))
	}
	return err
}

func (o *opening) unfolded() bool { return o.dirty }

func (o *opening) folded() {
	o.dirty, o.marked = false, false
	clear(o.changed)
}

func (b *bought) shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log.broken = errShut
}

var errShut = fmt.Errorf("the wallet: %w", os.ErrClosed)
