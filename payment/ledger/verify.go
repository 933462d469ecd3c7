package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"torrente/payment"
	"torrente/payment/contract"
)

// Report is what Verify found in a log.
type Report struct {
	Ledger       payment.LedgerID `json:"ledger"`
	Name         string           `json:"name"`
	Height       uint64           `json:"height"`
	Hash         string           `json:"hash"` // of all blocks so far, in hex: equal ledgers of one kind have equal ones
	Transactions uint64           `json:"transactions"`
	contract.Books
	Available payment.Amount `json:"available"` // balance + unswept
	Conserved bool           `json:"conserved"` // every coin minted is somewhere, once
	// Unfinished is the bytes after the last whole block: one that is being
	// written now, or that a crash cut off.
	Unfinished int64 `json:"unfinished"`
}

// Verify reads the block log of the ledger in dir, and nothing else of it: the
// chain of hashes, every certificate and signature, every transaction executed
// anew, and the books of the result (L1 to L3). The ledger may be open
// meanwhile. What does not hold is the error, ErrDamaged or contract.ErrBooks,
// with the block.
func Verify(dir string) (report Report, err error) {
	path := filepath.Join(dir, LogFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return report, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return report, err
	}
	scratch, err := os.MkdirTemp("", "ledger-verify-")
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	report, err = verify(f, info.Size(), filepath.Join(scratch, stateFile))
	if err != nil {
		return report, fmt.Errorf("%s: %w", path, err)
	}
	return report, nil
}

func verify(f *os.File, size int64, scratch string) (report Report, err error) {
	log, genesis, err := newLogReader(f, size)
	if err != nil {
		return report, err
	}
	state, err := openState(scratch, genesis)
	if state != nil {
		defer func() { err = errors.Join(err, state.close()) }()
	}
	if err != nil {
		return report, err
	}
	p := &replayer{rows: state, log: log, ledger: contract.GenesisID(genesis), strict: true}
	if err := p.run(); err != nil && !errors.Is(err, errTorn) {
		return report, err
	}
	report = Report{
		Ledger: p.ledger, Height: p.last.height, Hash: fmt.Sprintf("%x", p.last.hash),
		Transactions: p.txs, Unfinished: size - log.at,
	}
	err = state.read(func(v *snapshot) (err error) {
		a, err := contract.Ask(contractReader{v}, contract.Query{Kind: contract.QueryLedger})
		if err != nil {
			return err
		}
		report.Name = a.Ledger.Name
		report.Books, err = contract.Audit(contractReader{v})
		return err
	})
	report.Available, report.Conserved = report.Books.Available(), report.Books.Conserved()
	return report, err
}
