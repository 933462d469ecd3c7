package ledger

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"torrente/payment"
	"torrente/payment/contract"
)

// stage collects what the transactions of one block change, each seeing what
// those before it did. It is a contract.State.
type stage struct {
	contractReader
	writes map[string][]byte
}

var _ contract.State = (*stage)(nil)

// newStage begins a block on a snapshot: its writes are the newest layer.
func newStage(s *snapshot) *stage {
	writes := map[string][]byte{}
	layers := append([]map[string][]byte{writes}, s.changed...)
	return &stage{contractReader{&snapshot{layers, s.bucket}}, writes}
}

// Put sets a row of the contract.
func (s *stage) Put(key string, value []byte) error {
	s.writes[rowContract+key] = value
	return nil
}

// Delete removes a row of the contract.
func (s *stage) Delete(key string) error {
	s.writes[rowContract+key] = nil
	return nil
}

// tip is the last block that the rows know.
type tip struct {
	height uint64
	hash   [32]byte // of the block; the ledger's id before the first
	ledger payment.LedgerID
}

func (s *snapshot) tip() (t tip, found bool, err error) {
	b, err := s.get(rowTip)
	if err != nil || b == nil {
		return t, false, err
	}
	if len(b) != 72 {
		return t, false, fmt.Errorf("%w (the tip)", errRows)
	}
	return tip{binary.BigEndian.Uint64(b), [32]byte(b[8:40]), payment.LedgerID(b[40:72])}, true, nil
}

func (s *stage) putTip(t tip) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 72), t.height)
	s.writes[rowTip] = append(append(b, t.hash[:]...), t.ledger[:]...)
}

// receipt returns what a transaction did, if a block holds it.
func (s *snapshot) receipt(id contract.TxID) (r Receipt, found bool, err error) {
	b, err := s.get(rowReceipt + string(id[:]))
	if err != nil || b == nil {
		return r, false, err
	}
	if len(b) < 8 {
		return r, false, fmt.Errorf("%w (a receipt)", errRows)
	}
	result, err := contract.ParseResult(b[8:])
	if err != nil {
		return r, false, fmt.Errorf("%w (a receipt)", errRows)
	}
	return receiptOf(id, binary.BigEndian.Uint64(b), result), true, nil
}

func receiptOf(id contract.TxID, height uint64, r contract.Result) Receipt {
	return Receipt{Tx: id, Height: height, Code: r.Code, Items: r.Items, Coins: r.Coins}
}

func (s *stage) putReceipt(id contract.TxID, height uint64, r *contract.Result) {
	s.writes[rowReceipt+string(id[:])] = r.Append(binary.BigEndian.AppendUint64(nil, height))
}

func eventsKey(height uint64) string {
	return rowEvents + string(binary.BigEndian.AppendUint64(nil, height))
}

func (s *stage) putEvents(b Block) error {
	text, err := json.Marshal(b)
	s.writes[eventsKey(b.Height)] = text
	return err
}

func (s *snapshot) events(height uint64) (b Block, err error) {
	text, err := s.get(eventsKey(height))
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%w (the events of block %d)", errRows, height)
	}
	return b, nil
}
