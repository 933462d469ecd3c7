package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"torrente/payment/contract"
)

// maxSkipped is the most rows that a range within a transaction reads before
// it gives one: an organisation has 64 roots at a time.
const maxSkipped = 4096

// errPrefix means that the contract asks for a range that is no folder.
var errPrefix = errors.New("a range of rows is not of whole segments")

// rows is a contract.State in a Fabric peer. A row com/ID is the composite key
// of type com with the attribute ID, so that no row's key is another's prefix
// and none can be confused with a receipt. Reads do not see the writes of the
// same transaction; the contract does not rely on it.
//
// Fabric orders composite keys by segment, which differs from the order of the
// contract's keys if one segment begins with another: a range gives the rows
// that follow after in Fabric's order, so pages neither overlap nor leave out.
type rows struct{ stub shim.ChaincodeStubInterface }

var _ contract.State = rows{}

// composite returns Fabric's key of a row.
func (r rows) composite(key string) (string, error) {
	segments := strings.Split(key, "/")
	return r.stub.CreateCompositeKey(segments[0], segments[1:])
}

// Get returns nil for a row that does not exist.
func (r rows) Get(key string) ([]byte, error) {
	k, err := r.composite(key)
	if err != nil {
		return nil, err
	}
	value, err := r.stub.GetState(k)
	if len(value) == 0 {
		value = nil
	}
	return value, err
}

// GetMany asks the peer once.
func (r rows) GetMany(keys []string) ([][]byte, error) {
	composites := make([]string, len(keys))
	for i, key := range keys {
		var err error
		if composites[i], err = r.composite(key); err != nil {
			return nil, err
		}
	}
	return r.read(composites)
}

// read asks the peer once, for Fabric's keys.
func (r rows) read(composites []string) ([][]byte, error) {
	values, err := r.stub.GetMultipleStates(composites...)
	if err == nil && len(values) != len(composites) {
		return nil, fmt.Errorf("read %d rows: the peer gave %d", len(composites), len(values))
	}
	for i := range values {
		if len(values[i]) == 0 {
			values[i] = nil
		}
	}
	return values, err
}

// Put writes a row.
func (r rows) Put(key string, value []byte) error {
	k, err := r.composite(key)
	if err != nil {
		return err
	}
	return r.stub.PutState(k, value)
}

// Delete removes a row.
func (r rows) Delete(key string) error {
	k, err := r.composite(key)
	if err != nil {
		return err
	}
	return r.stub.DelState(k)
}

// Range reads rows so that Fabric notices if one was added or removed before
// the transaction is ordered. Only the roots are read like this, for a certificate
// that is refused.
func (r rows) Range(prefix, after string, limit int) ([]contract.Row, error) {
	objectType, attributes, err := folder(prefix)
	if err != nil {
		return nil, err
	}
	start, err := r.start(prefix, after)
	if err != nil {
		return nil, err
	}
	found, err := r.stub.GetStateByPartialCompositeKey(objectType, attributes)
	if err != nil {
		return nil, err
	}
	return r.collect(found, start, limit)
}

// folder splits a prefix, which ends with a slash, into its segments.
func folder(prefix string) (objectType string, attributes []string, err error) {
	whole, ok := strings.CutSuffix(prefix, "/")
	if !ok || whole == "" {
		return "", nil, fmt.Errorf("%w (%.80q)", errPrefix, prefix)
	}
	segments := strings.Split(whole, "/")
	return segments[0], segments[1:], nil
}

// start returns the key that a range follows, or "" if it begins at its first.
func (r rows) start(prefix, after string) (string, error) {
	if len(after) <= len(prefix) || !strings.HasPrefix(after, prefix) {
		return "", nil
	}
	return r.composite(after)
}

// collect takes at most limit rows behind start, and closes the iterator. One
// that is at its end the peer has closed: telling it costs as much as a read.
func (r rows) collect(found shim.StateQueryIteratorInterface, start string, limit int) (all []contract.Row, err error) {
	defer func() {
		if found.HasNext() {
			err = errors.Join(err, found.Close())
		}
	}()
	for skipped := 0; len(all) < limit && found.HasNext(); {
		kv, err := found.Next()
		if err != nil {
			return nil, err
		}
		if kv.GetKey() <= start {
			if skipped++; skipped > maxSkipped {
				return nil, fmt.Errorf("more than %d rows before %.80q: %w", maxSkipped, start, contract.ErrDamaged)
			}
			continue
		}
		objectType, attributes, err := r.stub.SplitCompositeKey(kv.GetKey())
		if err != nil {
			return nil, err
		}
		key := strings.Join(append([]string{objectType}, attributes...), "/")
		all = append(all, contract.Row{Key: key, Value: kv.GetValue()})
	}
	return all, nil
}

// pages is rows for queries, which begin in the middle of a range without
// reading what is before. Fabric lets nothing be written after that.
type pages struct{ rows }

// Range reads one page.
func (p pages) Range(prefix, after string, limit int) ([]contract.Row, error) {
	objectType, attributes, err := folder(prefix)
	if err != nil {
		return nil, err
	}
	start, err := p.start(prefix, after)
	if err != nil {
		return nil, err
	}
	// Fabric's page begins with its bookmark, which we have already.
	found, _, err := p.stub.GetStateByPartialCompositeKeyWithPagination(objectType, attributes, int32(min(limit, 1<<20))+1, start)
	if err != nil {
		return nil, err
	}
	return p.collect(found, start, limit)
}

// organisation shows the roots of one organisation as if there were no others,
// so that a transaction depends on those of its creator alone.
type organisation struct {
	contract.Reader
	msp string
}

// rootsPrefix is where the contract keeps the roots of all organisations.
const rootsPrefix = "ca/"

// Range narrows the range of all roots.
func (o organisation) Range(prefix, after string, limit int) ([]contract.Row, error) {
	if prefix == rootsPrefix {
		prefix += o.msp + "/"
	}
	return o.Reader.Range(prefix, after, limit)
}
