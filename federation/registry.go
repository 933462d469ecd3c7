package federation

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"torrente/payment"
)

// registry is what the portal remembers on disk: invites, members, and
// transfers that are under way. Each change is one synced transaction.
type registry struct{ db *bbolt.DB }

var (
	bucketInvites = []byte("invites") // SHA-256 of the secret: invite
	bucketMembers = []byte("members") // account: member
	bucketNames   = []byte("names")   // name: account
	bucketPending = []byte("pending") // transaction id: signed transaction, not known to be committed
	bucketSold    = []byte("sold")    // info-hash as announced: height of the block that registered it
	bucketSeen    = []byte("seen")    // "height": the last block whose torrents are in bucketSold
)

// Bounds of what an operator can pile up.
const (
	maxInvites   = 100_000
	keepInvites  = 30 * 24 * time.Hour // after use or expiry, so that the reason can be told
	maxMemberRow = 64 << 10
)

// openWait is how long another process may keep the file: the lock on the
// folder is held already, so there should be none.
const openWait = 5 * time.Second

// invite is one row of bucketInvites.
type invite struct {
	Name    string    `json:"name,omitempty"` // the member's, if the operator chose it
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Used    time.Time `json:"used,omitzero"`
	// Account is who used it: the same key gets the same answer again, in case
	// the first one was lost on its way.
	Account payment.Account `json:"account,omitzero"`
	Chain   [][]byte        `json:"chain,omitempty"` // DER, what it was answered
}

// member is one row of bucketMembers.
type member struct {
	Name     string          `json:"name"`
	Account  payment.Account `json:"account"`
	MSP      string          `json:"msp"`
	SPKI     []byte          `json:"spki"`
	Enrolled time.Time       `json:"enrolled"`
	Expires  time.Time       `json:"expires"` // of the newest certificate
}

var (
	errNoMember    = errors.New("no member has this name or account: list them with torrente federation members")
	errNameTaken   = errors.New("another member has this name: choose another with --name")
	errManyInvites = fmt.Errorf("there are %d invites already: let some expire", maxInvites)
)

func openRegistry(path string) (*registry, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openWait})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketInvites, bucketMembers, bucketNames, bucketPending, bucketSold, bucketSeen} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &registry{db}, nil
}

func (r *registry) close() error { return r.db.Close() }

// addInvite stores a new invite, and forgets those that are long over.
func (r *registry) addInvite(digest [32]byte, v invite) error {
	return r.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketInvites)
		n, err := pruneInvites(b, v.Created.Add(-keepInvites))
		if err != nil {
			return err
		}
		if n >= maxInvites {
			return errManyInvites
		}
		return putJSON(b, digest[:], v)
	})
}

// pruneInvites deletes what was used or expired before a time, and returns how
// many are left.
func pruneInvites(b *bbolt.Bucket, before time.Time) (left int, err error) {
	var old [][]byte
	err = b.ForEach(func(k, raw []byte) error {
		var v invite
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("invite %x: %w", k, err)
		}
		end := v.Expires
		if !v.Used.IsZero() {
			end = v.Used
		}
		if end.Before(before) {
			old = append(old, k)
			return nil
		}
		left++
		return nil
	})
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	return left, err
}

// memberOf finds a member by name or by account in hex.
func (r *registry) memberOf(who string) (m member, err error) {
	err = r.db.View(func(tx *bbolt.Tx) error {
		key := tx.Bucket(bucketNames).Get([]byte(who))
		var account payment.Account
		if key == nil && account.UnmarshalText([]byte(who)) == nil {
			key = account[:]
		}
		found, err := getJSON(tx.Bucket(bucketMembers), key, &m)
		if err == nil && !found {
			return fmt.Errorf("%.80q: %w", who, errNoMember)
		}
		return err
	})
	return m, err
}

// members lists all members in the order of their names.
func (r *registry) members() (list []member, err error) {
	err = r.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNames).ForEach(func(_, account []byte) error {
			var m member
			if _, err := getJSON(tx.Bucket(bucketMembers), account, &m); err != nil {
				return err
			}
			list = append(list, m)
			return nil
		})
	})
	return list, err
}

// putMember adds or changes a member; a name belongs to one account for ever.
func putMember(tx *bbolt.Tx, m member) error {
	names := tx.Bucket(bucketNames)
	if owner := names.Get([]byte(m.Name)); owner != nil && payment.Account(owner) != m.Account {
		return fmt.Errorf("%q: %w", m.Name, errNameTaken)
	}
	if err := names.Put([]byte(m.Name), m.Account[:]); err != nil {
		return err
	}
	return putJSON(tx.Bucket(bucketMembers), m.Account[:], m)
}

// addPending stores a signed transaction before it is submitted first.
func (r *registry) addPending(id [32]byte, signed []byte) error {
	return r.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketPending).Put(id[:], signed) })
}

func (r *registry) dropPending(id [32]byte) error {
	return r.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketPending).Delete(id[:]) })
}

// pending returns the transactions whose end is not known.
func (r *registry) pending() (list [][]byte, err error) {
	err = r.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketPending).ForEach(func(_, signed []byte) error {
			list = append(list, append([]byte(nil), signed...)) // it is valid in tx alone
			return nil
		})
	})
	return list, err
}

func putJSON(b *bbolt.Bucket, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(raw) > maxMemberRow {
		return fmt.Errorf("a row of %d bytes", len(raw))
	}
	return b.Put(key, raw)
}

func getJSON(b *bbolt.Bucket, key []byte, v any) (found bool, err error) {
	raw := b.Get(key)
	if key == nil || raw == nil {
		return false, nil
	}
	return true, json.Unmarshal(raw, v)
}
