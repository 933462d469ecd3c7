package contract

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"torrente/payment"
)

// MaxPage is the most entries of a list that one query answers.
const MaxPage = 200

// ErrQuery means that a query is malformed.
var ErrQuery = errors.New("not a valid query: update this program")

// QueryKind says what is asked.
type QueryKind string

// The queries, each with the fields of Query that it uses and the field of
// Answer that it fills. Lists come in pages: ask again with After = Next until
// Next is empty. What does not exist is a nil, or a list of none.
const (
	QueryLedger      QueryKind = "ledger"      // Ledger
	QueryAccount     QueryKind = "account"     // Account: Account
	QueryCredits     QueryKind = "credits"     // Account: Credits, paged
	QueryTorrent     QueryKind = "torrent"     // Torrent: Torrent
	QueryIntention   QueryKind = "intention"   // Intention: Intentions, one
	QueryIntentions  QueryKind = "intentions"  // Account (payer), open ones: Intentions, paged
	QueryCommitment  QueryKind = "commitment"  // Commitment: Commitments, one
	QueryCommitments QueryKind = "commitments" // Intention: Commitments, paged
	QueryReceived    QueryKind = "received"    // Account (receiver), not settled: Commitments, paged
	QueryRoots       QueryKind = "roots"       // Roots, paged
	QueryRevoked     QueryKind = "revoked"     // Revoked, paged
	QueryProposal    QueryKind = "proposal"    // Proposal: Proposals, one
	QueryProposals   QueryKind = "proposals"   // Proposals, paged, those that lapsed or passed too
)

// Query asks about the ledger's state. It changes nothing and is not signed, so
// it travels as JSON.
type Query struct {
	Kind       QueryKind            `json:"kind"`
	Account    payment.Account      `json:"account,omitzero"`
	Torrent    payment.TorrentID    `json:"torrent,omitzero"`
	Intention  payment.IntentionID  `json:"intention,omitzero"`
	Commitment payment.CommitmentID `json:"commitment,omitzero"`
	Proposal   TxID                 `json:"proposal,omitzero"`
	After      string               `json:"after,omitempty"` // Next of the page before
	Limit      int                  `json:"limit,omitempty"` // at most MaxPage; 0: MaxPage
}

// Answer is what a query found.
type Answer struct {
	Ledger      *LedgerInfo      `json:"ledger,omitempty"`
	Account     *AccountInfo     `json:"account,omitempty"`
	Torrent     *TorrentInfo     `json:"torrent,omitempty"`
	Intentions  []IntentionInfo  `json:"intentions,omitempty"`
	Commitments []CommitmentInfo `json:"commitments,omitempty"`
	Credits     []Credit         `json:"credits,omitempty"`
	Roots       []Root           `json:"roots,omitempty"`
	Revoked     []Revocation     `json:"revoked,omitempty"`
	Proposals   []ProposalInfo   `json:"proposals,omitempty"`
	Next        string           `json:"next,omitempty"` // After of the next page; empty: the last
	// Time is when the ledger answered, in seconds since 1970 by its clock; 0: it
	// does not say. The ledger fills it in, not the contract, which has no clock.
	Time uint64 `json:"time,omitempty"`
}

// LedgerInfo is the ledger itself.
type LedgerInfo struct {
	ID            payment.LedgerID `json:"id"`
	Name          string           `json:"name"`
	Minted        payment.Amount   `json:"minted"`
	Organisations int              `json:"organisations"`
	Epoch         uint64           `json:"epoch"`
	Price         payment.Amount   `json:"price"`           // of a unit, in this epoch
	Before        payment.Amount   `json:"before,omitzero"` // in the epoch before; 0 in the first
	// Height is that of a block that all of this is not older than, the last as a
	// rule. The contract knows no blocks: the ledger fills it in.
	Height uint64 `json:"height"`
}

// AccountInfo is an account's coins. An account that was never seen has none.
type AccountInfo struct {
	Balance   payment.Amount  `json:"balance"`   // what it can freeze or transfer
	Unswept   payment.Amount  `json:"unswept"`   // credits that Sweep adds to the balance
	Available payment.Amount  `json:"available"` // balance + unswept
	Frozen    payment.Amount  `json:"frozen"`    // in its open intentions
	Revoked   bool            `json:"revoked"`
	Heir      payment.Account `json:"heir,omitzero"` // to which it was reassigned
	Delegate  payment.Account `json:"delegate,omitzero"`
}

// Credit is coins that a transaction earned an account.
type Credit struct {
	Tx    TxID           `json:"tx"`
	Coins payment.Amount `json:"coins"`
}

// TorrentInfo is a registered torrent.
type TorrentInfo struct {
	SHA1  string `json:"sha1,omitempty"` // its v1 info-hash, in hex
	Units uint64 `json:"units"`
	V1    bool   `json:"v1"`
	V2    bool   `json:"v2"`
}

// IntentionInfo is coins frozen for a torrent.
type IntentionInfo struct {
	ID       payment.IntentionID `json:"id"`
	Payer    payment.Account     `json:"payer"`
	Torrent  payment.TorrentID   `json:"torrent"`
	Epoch    uint64              `json:"epoch"`
	Price    payment.Amount      `json:"price"`
	Funds    payment.Amount      `json:"funds"`
	Returned payment.Amount      `json:"returned"`
	Redeemed payment.Amount      `json:"redeemed"`
	Frozen   payment.Amount      `json:"frozen"` // funds - returned - redeemed
	Free     payment.Amount      `json:"free"`   // of the frozen, what new caps may use
	Declared uint64              `json:"declared"`
	Open     uint32              `json:"open"` // commitments not settled
	Closed   bool                `json:"closed"`
}

// CommitmentInfo is a registered commitment.
type CommitmentInfo struct {
	ID         payment.CommitmentID `json:"id"`
	Commitment string               `json:"commitment"` // its 256 bytes in hex
	K          uint8                `json:"k"`          // the number of its last cap
	Cap        uint32               `json:"cap"`        // units
	Redeemed   uint32               `json:"redeemed"`   // index
	Link       payment.Link         `json:"link,omitzero"`
	Released   bool                 `json:"released"` // by a signed close, not settled yet
	Settled    bool                 `json:"settled"`
	Final      uint32               `json:"final,omitempty"` // index, if released or settled
}

// Parse returns the commitment itself.
func (c *CommitmentInfo) Parse() (*payment.Commitment, error) {
	b, err := hex.DecodeString(c.Commitment)
	if err != nil {
		return nil, fmt.Errorf("commitment %v: %w", c.ID, err)
	}
	return payment.ParseCommitment(b)
}

// Root is an authority of an organisation, trusted now or removed.
type Root struct {
	MSP         string `json:"msp"`
	Certificate []byte `json:"certificate"` // DER
	Trusted     bool   `json:"trusted"`
}

// Revocation is a revoked account and the digest of its key.
type Revocation struct {
	Account payment.Account `json:"account"`
	Key     string          `json:"key"` // SHA-256 of the SubjectPublicKeyInfo, in hex
	MSP     string          `json:"msp"`
	ByAll   bool            `json:"by_all,omitempty"` // a majority did it, and can undo it
}

// Ask answers a query. The errors are ErrQuery and the Reader's.
func Ask(st Reader, q Query) (Answer, error) {
	if q.Limit < 0 || q.Limit > MaxPage || len(q.After) > 512 {
		return Answer{}, fmt.Errorf("%w (limit %d)", ErrQuery, q.Limit)
	}
	if q.Limit == 0 {
		q.Limit = MaxPage
	}
	a := &asking{view: view{st}, q: q}
	find, ok := map[QueryKind]func() error{
		QueryLedger: a.ledger, QueryAccount: a.account, QueryTorrent: a.torrent,
		QueryIntention: a.intention, QueryCommitment: a.commitment,
		QueryCredits: a.credits, QueryIntentions: a.intentions, QueryCommitments: a.commitments,
		QueryReceived: a.received, QueryRoots: a.roots, QueryRevoked: a.revoked,
		QueryProposal: a.proposal, QueryProposals: a.proposals,
	}[q.Kind]
	if !ok {
		return Answer{}, fmt.Errorf("%w (kind %.40q)", ErrQuery, q.Kind)
	}
	if err := find(); err != nil {
		return Answer{}, fmt.Errorf("query %s: %w", q.Kind, err)
	}
	return a.answer, nil
}

type asking struct {
	view
	q      Query
	answer Answer
}

// page hands each row of the page to one, and notes where the next begins.
func (a *asking) page(prefix string, one func(key string, value []byte) error) error {
	if a.q.After != "" && !strings.HasPrefix(a.q.After, prefix) {
		return ErrQuery
	}
	rows, err := a.st.Range(prefix, a.q.After, a.q.Limit)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := one(strings.TrimPrefix(row.Key, prefix), row.Value); err != nil {
			return err
		}
	}
	if len(rows) == a.q.Limit {
		a.answer.Next = rows[len(rows)-1].Key
	}
	return nil
}

func (a *asking) ledger() error {
	var l ledgerRow
	var now epoch
	var price, before coins
	if ok, err := a.read(keyLedger, &l); err != nil || !ok {
		return errors.Join(err, ErrNoLedger)
	}
	if _, err := a.read(keyPriceNow, &now); err != nil {
		return err
	}
	if _, err := a.read(keyPrice(uint64(now)), &price); err != nil {
		return err
	}
	if _, err := a.read(keyPrice(uint64(now)-1), &before); err != nil {
		return err
	}
	organisations, err := a.organisations()
	if err != nil {
		return err
	}
	minted, err := a.minted(&l)
	a.answer.Ledger = &LedgerInfo{
		ID: l.id, Name: l.name, Minted: minted, Organisations: len(organisations),
		Epoch: uint64(now), Price: payment.Amount(price), Before: payment.Amount(before),
	}
	if err != nil {
		return err
	}
	return nil
}

func (a *asking) account() error {
	info, err := a.accountInfo(a.q.Account)
	a.answer.Account = info
	return err
}

func (a *asking) torrent() error {
	var t torrent
	ok, err := a.read(keyTorrent(a.q.Torrent), &t)
	if err != nil || !ok {
		return err
	}
	info := &TorrentInfo{Units: t.units, V1: t.parts&partV1 != 0, V2: t.parts&partV2 != 0}
	if info.V1 {
		info.SHA1 = hex.EncodeToString(t.sha1[:])
	}
	a.answer.Torrent = info
	return nil
}

func (a *asking) intention() error {
	return a.addIntention(a.q.Intention)
}

func (a *asking) addIntention(id payment.IntentionID) error {
	info, err := a.intentionInfo(id)
	if err == nil && info != nil {
		a.answer.Intentions = append(a.answer.Intentions, *info)
	}
	return err
}

func (a *asking) intentions() error {
	return a.page(hexed(byPayer, a.q.Account)+"/", func(key string, _ []byte) error {
		var id payment.IntentionID
		if err := id.UnmarshalText([]byte(key)); err != nil {
			return err
		}
		return a.addIntention(id)
	})
}

func (a *asking) commitment() error { return a.addCommitment(a.q.Commitment) }

func (a *asking) addCommitment(id payment.CommitmentID) error {
	info, err := a.commitmentInfo(id)
	if err == nil && info != nil {
		a.answer.Commitments = append(a.answer.Commitments, *info)
	}
	return err
}

func (a *asking) commitments() error { return a.indexed(hexed(byIntention, a.q.Intention) + "/") }

func (a *asking) received() error { return a.indexed(hexed(byReceiver, a.q.Account) + "/") }

func (a *asking) indexed(prefix string) error {
	return a.page(prefix, func(key string, _ []byte) error {
		var id payment.CommitmentID
		if err := id.UnmarshalText([]byte(key)); err != nil {
			return err
		}
		return a.addCommitment(id)
	})
}

func (a *asking) credits() error {
	return a.page(hexed("cr/", a.q.Account)+"/", func(key string, value []byte) error {
		var c Credit
		if err := c.Tx.UnmarshalText([]byte(key)); err != nil {
			return err
		}
		if err := decodeRow(key, value, (*coins)(&c.Coins)); err != nil {
			return err
		}
		a.answer.Credits = append(a.answer.Credits, c)
		return nil
	})
}

func (a *asking) roots() error {
	return a.page("ca/", func(key string, value []byte) error {
		var row authority
		if err := decodeRow(key, value, &row); err != nil {
			return err
		}
		msp, _, _ := strings.Cut(key, "/")
		a.answer.Roots = append(a.answer.Roots, Root{msp, row.certificate, row.trusted})
		return nil
	})
}

func (a *asking) revoked() error {
	return a.page("rev/", func(key string, value []byte) error {
		var r Revocation
		if err := r.Account.UnmarshalText([]byte(key)); err != nil {
			return err
		}
		var row revocation
		if err := decodeRow("rev/"+key, value, &row); err != nil {
			return err
		}
		r.Key, r.MSP, r.ByAll = hex.EncodeToString(row.key[:]), row.msp, row.byAll
		a.answer.Revoked = append(a.answer.Revoked, r)
		return nil
	})
}
