package ledger

import (
	"fmt"
	"time"
)

// ClockTolerance is how far a member's clock may be from the ledger's for it to
// sell and to freeze coins (section 5): what it signs has to be judged alike on
// both sides of an expiry.
const ClockTolerance = 2 * time.Minute

// WrongClock means that the clock of this machine and the ledger's are more than
// ClockTolerance apart. It is this machine's that is taken for the wrong one: the
// ledger's is everybody's.
type WrongClock struct {
	Ours, Ledger time.Time // at the same moment
}

func (e *WrongClock) Error() string {
	off, how := e.Ours.Sub(e.Ledger), "ahead of"
	if off < 0 {
		off, how = -off, "behind"
	}
	unit := time.Second
	if off >= 10*time.Minute {
		unit *= 10 // what is finer is the way of the answer
	}
	return fmt.Sprintf("the clock of this machine is %s %s the ledger's, which says %s UTC: set it right, until then it sells nothing and freezes no coins",
		off.Round(unit), how, e.Ledger.UTC().Format(time.DateTime))
}

// CompareClocks judges our clock by the time in an answer, which the ledger read
// somewhen between asked and answered. Nil: it is right, or the answer took so
// long that nobody can tell.
func CompareClocks(asked, answered, ledger time.Time) *WrongClock {
	// The wall clock counts: a monotonic reading would hide that it was set.
	asked, answered = asked.Round(0), answered.Round(0)
	switch {
	case ledger.Before(asked.Add(-ClockTolerance)):
		return &WrongClock{asked, ledger}
	case ledger.After(answered.Add(ClockTolerance)):
		return &WrongClock{answered, ledger}
	}
	return nil
}
