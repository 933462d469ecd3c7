package payment

// Delivery is a unit that came and is right, and the commitment that pays it.
// Unit is its number in the torrent.
type Delivery struct {
	Commitment CommitmentID
	Unit       uint32
}
