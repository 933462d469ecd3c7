package payment

import "time"

const (
	// ageStep is how fine ages are kept: debts that arose in the same hour have
	// the time of the last of them.
	ageStep = time.Hour
	// maxAges bounds the ages of a tab: within awayLimit there are fewer hours.
	maxAges = 32
)

// age is how many units of a debt arose when.
type age struct {
	since time.Time // zero: it was a default already, and is none again
	units uint64
}

// ages tell how old a debt is, oldest first, as links pay it. Neither a
// connection nor a restart makes a debt younger.
type ages []age

// add notes units that are owed since a time.
func (a *ages) add(since time.Time, units uint64) {
	if units == 0 {
		return
	}
	if n := len(*a); n > 0 {
		last := &(*a)[n-1]
		if n == maxAges || !last.since.IsZero() && last.since.Truncate(ageStep).Equal(since.Truncate(ageStep)) {
			last.units += units
			last.since = later(last.since, since)
			return
		}
	}
	*a = append(*a, age{since, units})
}

// pay takes the oldest units out.
func (a *ages) pay(units uint64) {
	for len(*a) > 0 && units > 0 {
		first := &(*a)[0]
		n := min(units, first.units)
		first.units, units = first.units-n, units-n
		if first.units == 0 {
			*a = (*a)[1:]
		}
	}
}

// failed notes that all of it is in default.
func (a *ages) failed() {
	if n := a.sum(); n > 0 {
		*a = ages{{units: n}}
	}
}

// oldest is since when a unit is owed that is not in default; zero: there is
// none.
func (a ages) oldest() time.Time {
	for _, x := range a {
		if !x.since.IsZero() {
			return x.since
		}
	}
	return time.Time{}
}

// until is how many units are owed since a time or longer, and are not in
// default.
func (a ages) until(t time.Time) (n uint64) {
	for _, x := range a {
		if !x.since.IsZero() && !x.since.After(t) {
			n += x.units
		}
	}
	return n
}

func (a ages) sum() (n uint64) {
	for _, x := range a {
		n += x.units
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
