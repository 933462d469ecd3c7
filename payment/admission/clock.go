package admission

import (
	"fmt"
	"time"
)

// MaxClockSkew is how far a transaction's time may be from the ledger's clock
// (section 5 of the payment protocol).
const MaxClockSkew = 5 * time.Minute

// ClockOff means that the clock of the machine that signed a transaction and
// the ledger's are more than MaxClockSkew apart.
type ClockOff struct {
	Tx     time.Time // of the transaction, by its creator's clock
	Ledger time.Time // now, by the ledger's clock
}

func (e *ClockOff) Error() string {
	off, how := e.Tx.Sub(e.Ledger), "ahead of"
	if off < 0 {
		off, how = -off, "behind"
	}
	return fmt.Sprintf("the clock of the machine that signed the transaction (%s) is %s %s the ledger's (%s): set the wrong one right",
		e.Tx.UTC().Format(time.DateTime), off.Round(time.Second), how, e.Ledger.UTC().Format(time.DateTime))
}

// CheckClock returns a *ClockOff if a transaction's time is too far from the
// ledger's, both in seconds since 1970.
func CheckClock(tx, now uint64) error {
	const most = uint64(MaxClockSkew / time.Second)
	if tx > now+most || now > tx+most {
		return &ClockOff{time.Unix(int64(tx), 0), time.Unix(int64(now), 0)}
	}
	return nil
}
