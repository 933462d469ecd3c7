package payment

import "fmt"

// EventKind says what happened on the ledger.
type EventKind uint8

// The kinds of events. Which fields of LedgerEvent each one fills stands
// beside it; Height is always there.
const (
	EventTorrent    EventKind = iota + 1 // a torrent was registered: Torrent, Units
	EventDeclared                        // coins were frozen or added: Account (payer), Torrent, Intention, Coins
	EventOpened                          // a commitment was registered: Account (payer), Receiver, Intention, Commitment, Cap
	EventCap                             // its cap was raised: Account (payer), Commitment, Cap
	EventRedeemed                        // Account (receiver), Commitment, Index, Coins
	EventReleased                        // a signed close was filed: Account (payer), Commitment, Index (final)
	EventRefunded                        // the rest went back after expiry: Account (payer), Commitment, Index
	EventClosed                          // an intention was closed: Account (payer), Intention, Coins (returned)
	EventSwept                           // credits became balance: Account, Coins
	EventTransfer                        // Account (from), Receiver (to), Coins
	EventDelegate                        // Account, Receiver (the delegate, zero for none)
	EventRevoked                         // Account
	EventReinstated                      // Account
	EventRoots                           // an organisation's roots changed
	EventPrice                           // Price and Epoch changed: those and Before
	EventMinted                          // coins were made: Receiver, Coins
	EventReassigned                      // Account (old), Receiver (its heir), Coins (its balance)
)

var eventNames = [...]string{
	EventTorrent: "torrent", EventDeclared: "declared", EventOpened: "opened", EventCap: "cap",
	EventRedeemed: "redeemed", EventReleased: "released", EventRefunded: "refunded", EventClosed: "closed",
	EventSwept: "swept", EventTransfer: "transfer", EventDelegate: "delegate", EventRevoked: "revoked",
	EventReinstated: "reinstated", EventRoots: "roots", EventPrice: "price",
	EventMinted: "minted", EventReassigned: "reassigned",
}

func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// LedgerEvent is one thing that a committed transaction did. A Swarm believes
// registered, cap and end of a commitment by these alone.
type LedgerEvent struct {
	Kind       EventKind    `json:"kind"`
	Height     uint64       `json:"height"` // of the block that holds it
	Account    Account      `json:"account,omitzero"`
	Receiver   Account      `json:"receiver,omitzero"`
	Torrent    TorrentID    `json:"torrent,omitzero"`
	Intention  IntentionID  `json:"intention,omitzero"`
	Commitment CommitmentID `json:"commitment,omitzero"`
	Cap        uint32       `json:"cap,omitzero"`   // units
	Index      uint32       `json:"index,omitzero"` // units
	Units      uint64       `json:"units,omitzero"`
	Coins      Amount       `json:"coins,omitzero"`
	Price      Amount       `json:"price,omitzero"`
	Epoch      uint64       `json:"epoch,omitzero"`
	Before     Amount       `json:"before,omitzero"` // the price of the epoch before, which commitments may have still
}
