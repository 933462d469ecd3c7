package payment

import (
	"math/bits"
	"strconv"
)

// Amount is money: a whole number of the ledger's smallest coin. Its methods
// report what does not fit 64 bits; there is no other arithmetic on money.
type Amount uint64

// Add returns a + b, and false if that does not fit.
func (a Amount) Add(b Amount) (Amount, bool) {
	sum, carry := bits.Add64(uint64(a), uint64(b), 0)
	return Amount(sum), carry == 0
}

// Sub returns a - b, and false if b is more than a.
func (a Amount) Sub(b Amount) (Amount, bool) {
	return a - b, a >= b
}

// Mul returns a for each of n units, and false if that does not fit.
func (a Amount) Mul(n uint64) (Amount, bool) {
	high, low := bits.Mul64(uint64(a), n)
	return Amount(low), high == 0
}

// String returns the number of coins in decimal.
func (a Amount) String() string { return strconv.FormatUint(uint64(a), 10) }
