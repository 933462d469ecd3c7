package contract

import "fmt"

// Code says how a call, or one item of its list, ended. It is an error, and
// its text tells the user what to do; but OK and Already are successes.
type Code uint8

// The codes. Numbers are on disk and on the wire: they are never used again
// for another meaning.
const (
	OK            Code = 0  // done
	Already       Code = 1  // was done before: nothing changed
	NoneDone      Code = 2  // every item of the list failed
	BadArguments  Code = 3  // not an encoding of the call's arguments, or out of bounds
	Duplicate     Code = 4  // a list names something twice
	OtherLedger   Code = 5  // transaction or commitment of another ledger
	UnknownMember Code = 6  // an organisation that is not of the federation
	Revoked       Code = 7  // the creator is revoked
	RequestReused Code = 8  // the request id was used with other arguments
	BadTorrent    Code = 9  // the info dictionary is refused, or is not sold here
	NoTorrent     Code = 10 // not registered
	BadUnits      Code = 11 // zero, or more than the torrent has
	BadMargin     Code = 12
	NoCoins       Code = 13 // balance too small
	NoIntention   Code = 14
	NotPayer      Code = 15 // creator, commitment and intention have not one payer
	Closed        Code = 16 // the intention is
	OtherTorrent  Code = 17 // commitment and intention differ
	OtherPrice    Code = 18 // likewise, price or epoch
	Stale         Code = 19 // the intention's epoch is over, or it is too old
	BadExpiry     Code = 20 // under 2 hours or over 7 days
	BadCap        Code = 21 // zero, over the chain, not rising, not the last one
	RootUsed      Code = 22
	SlotUsed      Code = 23
	NoFunds       Code = 24 // the intention's
	Conflict      Code = 25 // exists, and differs
	NoCommitment  Code = 26
	NotReceiver   Code = 27 // nor its delegate
	OverCap       Code = 28 // or over the final index of a close
	Ended         Code = 29
	Expired       Code = 30
	BadLink       Code = 31
	TooMuchWork   Code = 32 // over 2^20 hashes in one call
	BadClose      Code = 33 // signature, key or ledger
	BelowRedeemed Code = 34 // a close below what was redeemed
	TooEarly      Code = 35 // for a refund
	NoCredit      Code = 36
	ToOneself     Code = 37
	NotAdmin      Code = 38
	NoMajority    Code = 39
	BadRoot       Code = 40
	NoRoot        Code = 41
	LastRoot      Code = 42
	NotRevoked    Code = 43
	Overflow      Code = 44 // a sum exceeds 64 bits
	PriceRose     Code = 45 // above what a Declare consents to
	NoProposal    Code = 46
	Lapsed        Code = 47 // the proposal is
	Reassigned    Code = 48 // the account has an heir
	NotHeir       Code = 49
	// IsAdministrator: the key is an administrator's, which is not revoked.
	IsAdministrator Code = 50
	SameAccount     Code = 51 // an account cannot be its own heir
	ManyRoots       Code = 52
	ManyRevoked     Code = 53

	ManyOrganisations Code = 54
)

var sentences = [...]string{
	OK:            "done",
	Already:       "it was done before: nothing changed",
	NoneDone:      "no item of the list could be done: see the reason of each",
	BadArguments:  "the call's arguments are malformed: update this program",
	Duplicate:     "the list names one thing twice: send it once",
	OtherLedger:   "it was made for another ledger: use the federation that the torrent names",
	UnknownMember: "the organization is not part of this federation: enroll in it",
	Revoked:       "the federation revoked this account, which can still redeem and sweep: ask its operator",
	RequestReused: "the request id was used before with other arguments: choose a new one",
	BadTorrent:    "the torrent is malformed, too large, or not sold on this ledger: create it with --paid for this federation",
	NoTorrent:     "the torrent is not registered on this ledger: its creator has to register it",
	BadUnits:      "the number of units is zero or more than the torrent has: ask for what it has",
	BadMargin:     "the margin is not 100 to 150 percent: choose one between",
	NoCoins:       "the account has fewer coins than this needs: get more, or close downloads that are done",
	NoIntention:   "no coins were frozen under this id: declare first",
	NotPayer:      "only the account that froze the coins may do this: use its key",
	Closed:        "the download's coins were released already: declare anew",
	OtherTorrent:  "the coins were frozen for another torrent: declare for this one",
	OtherPrice:    "price or epoch are not those at which the coins were frozen: make the commitment anew",
	Stale:         "the coins were frozen too long ago: close the download and declare anew",
	BadExpiry:     "the commitment would not live between 2 hours and 7 days: check the clock and make it anew",
	BadCap:        "the cap does not follow the last one, or exceeds the chain: read the commitment and try again",
	RootUsed:      "the hash chain was used before: make a new one",
	SlotUsed:      "the slot of this uploader was used before: take the next one",
	NoFunds:       "the frozen coins do not cover this: add funds",
	Conflict:      "it exists with other contents: read it and try again",
	NoCommitment:  "the ledger has no such commitment: it was never opened, so nothing is owed on it",
	NotReceiver:   "only the commitment's receiver, or its delegate, may redeem: use its key",
	OverCap:       "the link is beyond what was frozen for it: redeem up to the cap",
	Ended:         "the commitment has ended: open the next one",
	Expired:       "the commitment has expired: nothing can be redeemed or added any more",
	BadLink:       "the link is not of this commitment: send the one that belongs to the index",
	TooMuchWork:   "the call needs more than 1048576 hashes: redeem in several calls",
	BadClose:      "the close is not signed by the receiver for this ledger: ask it again",
	BelowRedeemed: "the close ends before what was redeemed: it is void",
	TooEarly:      "the receiver can still redeem: refund 30 minutes after expiry",
	NoCredit:      "there is no such credit: it was swept before, or never earned",
	ToOneself:     "the account is the sender's own: name another",
	NotAdmin:      "only an administrator of the federation may do this: use its key",
	NoMajority:    "that is another organization's, or was decided by several: more than half of the organizations must agree, so propose it to them",
	BadRoot:       "the certificate is not that of an authority: give the root's certificate",
	NoRoot:        "the organization has no such trusted root: list them",
	LastRoot:      "it is the organization's last root: add the new one first",
	NotRevoked:    "the account is not revoked: nothing to undo",
	Overflow:      "the amount exceeds 64 bits: use a smaller one",
	PriceRose:     "the price of a unit is higher than was agreed to: ask for it again, and declare anew",
	NoProposal:    "the ledger has no such proposal: list them",
	Lapsed:        "the proposal is older than 7 days: propose it again",
	Reassigned:    "the account was reassigned, for good: name the account that has its coins now",
	NotHeir:       "the coins of that account were not reassigned to this one: ask the federation's operator",

	IsAdministrator: "the key is that of an organization's administrator, without which it could not vote: it cannot be revoked",
	SameAccount:     "the old and the new account are the same: name the certificate of another key",
	ManyRoots:       "the organization has as many roots as it may have, or has added 256 in all: go on with those that it has",
	ManyRevoked:     "the organization has revoked 4096 keys, which is the most: reinstate some, or propose it to the organizations",

	ManyOrganisations: "the federation has 64 organizations, which is the most: found another one",
}

// Success reports whether what was asked for is so now.
func (c Code) Success() bool { return c == OK || c == Already }

// Error returns one sentence: what happened, and what to do.
func (c Code) Error() string {
	if int(c) < len(sentences) && sentences[c] != "" {
		return sentences[c]
	}
	return fmt.Sprintf("the ledger answered code %d: update this program", uint8(c))
}

// Err returns nil for a success, or else the code.
func (c Code) Err() error {
	if c.Success() {
		return nil
	}
	return c
}
