package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
	"torrente/payment/contract"
)

// blockTag opens a block; its last character is the version.
const blockTag = "TRNTBLK1"

// What a block holds at most. The committer closes one before it gets there.
const (
	maxBlockTxs    = 512
	fullBlockBytes = 8 << 20 // then no more transactions are taken into it
	maxBlockBytes  = fullBlockBytes + contract.MaxSigned + 4096
	// maxBlockEvents is when no more transactions are taken into a block, so
	// that its events fit one message.
	maxBlockEvents = 4096
)

// block is one entry of the log, big endian:
//
//	tag 8 | height u64 | previous 32 | time u64 | results 32 | count u32 |
//	each: length u32, signed transaction
//
// previous is SHA-256 of the block before, or the ledger's id in the first;
// results is SHA-256 of all results, one after the other.
type block struct {
	height   uint64
	previous [32]byte
	time     uint64 // seconds since 1970, by the ledger's clock
	results  [32]byte
	txs      []*contract.Signed
}

func (b *block) append(out []byte) []byte {
	be := binary.BigEndian
	out = be.AppendUint64(append(out, blockTag...), b.height)
	out = be.AppendUint64(append(out, b.previous[:]...), b.time)
	out = be.AppendUint32(append(out, b.results[:]...), uint32(len(b.txs)))
	for _, tx := range b.txs {
		out = append(out, 0, 0, 0, 0)
		start := len(out)
		out = tx.Append(out)
		be.PutUint32(out[start-4:], uint32(len(out)-start))
	}
	return out
}

// parseBlock reads a block in place. What passed the log's checksum and does
// not parse was written wrong, or forged.
func parseBlock(payload []byte) (*block, error) {
	in := cryptobyte.String(payload)
	var b block
	var tag []byte
	var count uint32
	ok := in.ReadBytes(&tag, len(blockTag)) && string(tag) == blockTag && in.ReadUint64(&b.height) &&
		in.CopyBytes(b.previous[:]) && in.ReadUint64(&b.time) && b.time <= payment.MaxTime &&
		in.CopyBytes(b.results[:]) && in.ReadUint32(&count) && count > 0 && count <= maxBlockTxs
	if !ok {
		return nil, fmt.Errorf("%w (the head of a block)", ErrDamaged)
	}
	for range count {
		var length uint32
		var raw []byte
		if !in.ReadUint32(&length) || length > contract.MaxSigned || !in.ReadBytes(&raw, int(length)) {
			return nil, fmt.Errorf("%w (a transaction of block %d)", ErrDamaged, b.height)
		}
		tx, err := contract.ParseSigned(raw)
		if err != nil {
			return nil, fmt.Errorf("%w (a transaction of block %d: %w)", ErrDamaged, b.height, err)
		}
		b.txs = append(b.txs, tx)
	}
	if !in.Empty() {
		return nil, fmt.Errorf("%w (block %d is too long)", ErrDamaged, b.height)
	}
	return &b, nil
}

// hashResults is what a block says of its transactions' results.
func hashResults(results []contract.Result) [32]byte {
	h := sha256.New()
	for i := range results {
		h.Write(results[i].Append(nil))
	}
	return [32]byte(h.Sum(nil))
}
