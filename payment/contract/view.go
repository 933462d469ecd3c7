package contract

import (
	"encoding/hex"

	"torrente/payment"
)

// view derives what queries and audits report from a State's rows.
type view struct{ st Reader }

// walkPage is how many rows a walk reads at a time.
const walkPage = 1000

// read decodes a row into dst and reports whether it exists.
func (v view) read(key string, dst rowReader) (bool, error) {
	value, err := v.st.Get(key)
	if err != nil || value == nil {
		return false, err
	}
	return true, decodeRow(key, value, dst)
}

// walk hands all rows under prefix to each, with what follows the prefix.
func (v view) walk(prefix string, each func(rest string, value []byte) error) error {
	after := ""
	for {
		rows, err := v.st.Range(prefix, after, walkPage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := each(row.Key[len(prefix):], row.Value); err != nil {
				return err
			}
		}
		if len(rows) < walkPage {
			return nil
		}
		after = rows[len(rows)-1].Key
	}
}

func (v view) accountInfo(account payment.Account) (*AccountInfo, error) {
	info := &AccountInfo{}
	if _, err := v.read(keyAccount(account), (*coins)(&info.Balance)); err != nil {
		return nil, err
	}
	if _, err := v.read(keyDelegate(account), (*digest)(&info.Delegate)); err != nil {
		return nil, err
	}
	revoked, err := v.st.Get(keyRevoked(account))
	if err != nil {
		return nil, err
	}
	info.Revoked = revoked != nil
	if _, err := v.read(keyHeir(account), (*digest)(&info.Heir)); err != nil {
		return nil, err
	}
	if info.Unswept, err = v.sumCoins(hexed("cr/", account) + "/"); err != nil {
		return nil, err
	}
	info.Available = info.Balance + info.Unswept // both are part of what was minted
	err = v.walk(hexed(byPayer, account)+"/", func(rest string, _ []byte) error {
		var id payment.IntentionID
		if err := id.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		i, err := v.intentionInfo(id)
		if err == nil && i != nil {
			info.Frozen += i.Frozen
		}
		return err
	})
	return info, err
}

// sumCoins adds up all rows of coins under prefix.
func (v view) sumCoins(prefix string) (sum payment.Amount, err error) {
	err = v.walk(prefix, func(rest string, value []byte) error {
		var c coins
		if err := decodeRow(prefix+rest, value, &c); err != nil {
			return err
		}
		var ok bool
		if sum, ok = sum.Add(payment.Amount(c)); !ok {
			return ErrDamaged
		}
		return nil
	})
	return sum, err
}

func (v view) intentionInfo(id payment.IntentionID) (*IntentionInfo, error) {
	var i intention
	if ok, err := v.read(keyIntention(id), &i); err != nil || !ok {
		return nil, err
	}
	redeemed, err := v.redeemedUnits(id)
	if err != nil {
		return nil, err
	}
	paid, fits := i.price.Mul(redeemed)
	gone, ok := paid.Add(i.returned)
	frozen, enough := i.funds.Sub(gone)
	free, solvent := i.unreserved()
	if !fits || !ok || !enough || !solvent {
		return nil, ErrDamaged
	}
	return &IntentionInfo{
		ID: id, Payer: i.payer, Torrent: i.torrent, Epoch: i.epoch, Price: i.price, Funds: i.funds,
		Returned: i.returned, Redeemed: paid, Frozen: frozen, Free: free,
		Declared: i.declared, Open: i.open, Closed: i.closed,
	}, nil
}

// redeemedUnits adds up what was redeemed of an intention's commitments.
func (v view) redeemedUnits(id payment.IntentionID) (units uint64, err error) {
	err = v.walk(hexed(byIntention, id)+"/", func(rest string, _ []byte) error {
		var c payment.CommitmentID
		if err := c.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		var done claim
		_, err := v.read(keyRedeemed(c), &done)
		units += uint64(done.Index)
		return err
	})
	return units, err
}

func (v view) commitmentInfo(id payment.CommitmentID) (*CommitmentInfo, error) {
	var c commitment
	var done claim
	if ok, err := v.read(keyCommitment(id), &c); err != nil || !ok {
		return nil, err
	}
	if _, err := v.read(keyRedeemed(id), &done); err != nil {
		return nil, err
	}
	k, limit, err := v.lastCap(id, c.cap)
	return &CommitmentInfo{
		ID: id, Commitment: hex.EncodeToString(c.Append(nil)), K: k, Cap: limit,
		Redeemed: done.Index, Link: done.Link,
		Released: c.end == endReleased, Settled: c.end == endSettled, Final: c.final,
	}, err
}

// lastCap returns the last cap of a commitment and its number.
func (v view) lastCap(id payment.CommitmentID, first uint32) (k uint8, limit uint32, err error) {
	rows, err := v.st.Range(hexed("cap/", id)+"/", "", MaxCaps-1)
	if err != nil || len(rows) == 0 {
		return firstCap, first, err
	}
	last := rows[len(rows)-1]
	err = decodeRow(last.Key, last.Value, (*units)(&limit))
	return uint8(len(rows)), limit, err
}
