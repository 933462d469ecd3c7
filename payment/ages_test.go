package payment

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Who comes back every hour and never pays has no day more than others: the
// credit pays, as far as there is any.
func TestReconnectingDebtor(t *testing.T) {
	for _, c := range []struct {
		name       string
		credit     Amount
		left, owed uint64
	}{
		{"a customer", 640, 160, 0}, {"all of its credit", 480, 0, 0}, {"less credit than debt", 479, 0, 1}, {"a stranger", 0, 0, 3},
	} {
		b := testBook(3)
		b.credit, b.halved = c.credit, today
		b.Lease(film, 3)
		b.Leave(today, film, Standing{Unpaid: 3, Units: []uint32{7, 8, 9}})
		for hour := range 23 {
			at := today.Add(time.Duration(hour+1) * time.Hour)
			b.Join(film)
			b.Advance(at)
			b.Leave(at, film, Standing{})
		}
		if b.Defaulted() || b.Credit() != c.credit || b.Owed() != 3 {
			t.Errorf("%s: within the day credit %d, %d owed", c.name, b.Credit(), b.Owed())
		}
		b.Join(film)
		b.Advance(today.Add(day))
		if uint64(b.Credit()) != c.left || b.Owed() != c.owed || b.Defaulted() != (c.owed > 0) || !b.Unsafe() {
			t.Errorf("%s: after a day credit %d, %d owed, defaulted %v", c.name, b.Credit(), b.Owed(), b.Defaulted())
		}
		b.Advance(today.Add(2 * day))
		if uint64(b.Credit()) != c.left || b.Owed() != c.owed {
			t.Errorf("%s: once more", c.name)
		}
	}
}

// A buyer that was killed with its whole window under way, and has those units
// from others since, loses that much credit and is a stranger: it owes nothing
// and may pay ahead. Who takes the window again and again, and never pays, has
// in sum what a sixteenth of its credit buys.
func TestWhatAThiefTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Uint32Range(1, 1024).Draw(t, "window")
		b, now, taken := customer(window), today, uint64(0)
		for n := 0; n < 25 && b.Window() > 0; n++ {
			got := b.Lease(film, rapid.Uint64Range(1, 1024).Draw(t, "units"))
			taken += got
			b.Leave(now, film, Standing{Unpaid: got})
			now = now.Add(day)
			b.Advance(now)
		}
		if taken > uint64(window) || b.Owed() != 0 || b.Defaulted() {
			t.Fatalf("%d taken with a window of %d, %d owed, defaulted %v", taken, window, b.Owed(), b.Defaulted())
		}
		if got := b.Count(now, promise(film, 0), 1, 1); got.Paid != 1 {
			t.Fatalf("a unit paid ahead: %+v", got)
		}
	})
}

// A debt that arises anew every hour, and is paid within the day, is none.
func TestDebtsAreAsOldAsTheirOldestUnit(t *testing.T) {
	b, c := customer(8), promise(film, 0)
	for hour := range uint32(200) {
		at := today.Add(time.Duration(hour) * time.Hour)
		b.Lease(film, 1)
		b.Leave(at, film, Standing{Unpaid: 1})
		if hour >= 6 {
			b.Count(at, c, hour-5, MaxLinks)
		}
		if b.Advance(at); b.Defaulted() {
			t.Fatalf("after %d hours: %d owed", hour, b.Owed())
		}
	}
}

// Neither a crash nor an orderly end makes a debt younger, nor what is in doubt
// since the first of them.
func TestDebtKeepsItsAge(t *testing.T) {
	b := customer(8)
	b.Lease(film, 3)
	b.Leave(today, film, Standing{Unpaid: 1})
	b.Lease(record, 2)
	for hour := range 23 {
		b = must[*Book](t)(ParseBook(today.Add(time.Duration(hour)*time.Hour), b.config, b.Append(nil)))
	}
	if due := b.Deadline(); !due.Equal(today.Add(day)) || b.Owed() != 3 {
		t.Errorf("%d owed, due %s", b.Owed(), due)
	}
	b.Count(today, promise(film, 0), 1, 1)
	if due := b.Deadline(); !due.Equal(today.Add(day)) {
		t.Errorf("what was in doubt is due %s", due)
	}
	if b.Advance(today.Add(day)); b.Owed() != 0 || b.Credit() != (16*8+1-16*2)*10 {
		t.Errorf("what was in doubt: %d owed, credit %d", b.Owed(), b.Credit())
	}
}

// What is written off of the books of all orders of visits, payments and restarts
// is what a list of every unpaid unit says, to the hour.
func TestWriteOffsByTheUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, c := customer(1000), promise(film, 0)
		now, paid := today, uint32(0)
		var unpaid []time.Time // when each arose
		served := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"serve": func(t *rapid.T) {
				served += b.Lease(film, rapid.Uint64Range(1, 3).Draw(t, "units"))
			},
			"leave": func(*rapid.T) {
				b.Leave(now, film, Standing{Unpaid: served})
				for range served {
					unpaid = append(unpaid, now)
				}
				served = 0
			},
			"join": func(*rapid.T) { b.Join(film) },
			"pay": func(t *rapid.T) {
				n := rapid.Uint32Range(1, 4).Draw(t, "links")
				paid += n
				got := b.Count(now, c, paid, MaxLinks)
				unpaid = unpaid[min(int(n), len(unpaid)):]
				served -= min(served, got.Paid)
				b.Return(film, min(got.Paid-min(got.Paid, got.Recalled), b.Leased()))
				served = min(served, b.Leased())
			},
			"restart": func(t *rapid.T) {
				if served > 0 || b.Leased() > 0 {
					return // what was in doubt: TestDebtKeepsItsAge
				}
				again, err := ParseBook(now, b.config, b.Append(nil))
				if err != nil {
					t.Fatal(err)
				}
				b = again
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(9*time.Hour)).Draw(t, "time")))
				b.Advance(now)
				for uint64(len(unpaid)) > b.Owed() {
					if age := now.Sub(unpaid[0]); age < 24*time.Hour {
						t.Fatalf("written off after %s", age)
					}
					unpaid = unpaid[1:]
				}
				if b.Owed() != uint64(len(unpaid)) {
					t.Fatalf("%d owed, want %d", b.Owed(), len(unpaid))
				}
				if len(unpaid) > 0 && now.Sub(unpaid[0]) >= 25*time.Hour {
					t.Fatalf("still owed after %s", now.Sub(unpaid[0]))
				}
			},
		})
	})
}
