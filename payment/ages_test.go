package payment

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Who comes back every day and never pays is in default after one day.
func TestReconnectingDebtorDefaults(t *testing.T) {
	b := customer(4)
	b.Lease(film, 3)
	b.Leave(today, film, Standing{Unpaid: 3})
	for hour := range 23 {
		at := today.Add(time.Duration(hour+1) * time.Hour)
		b.Join(film)
		b.Advance(at)
		b.Leave(at, film, Standing{})
	}
	if b.Defaulted() {
		t.Error("within the day")
	}
	b.Join(film)
	if b.Advance(today.Add(day)); !b.Defaulted() {
		t.Error("no default after a day of visits")
	}
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
}

// What the books of all orders of visits, payments and restarts say of defaults
// is what a list of every unpaid unit says, to the hour.
func TestDefaultsByTheUnit(t *testing.T) {
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
				credit := b.Credit()
				b.Advance(now)
				if b.Owed() != uint64(len(unpaid)) {
					t.Fatalf("%d owed, want %d", b.Owed(), len(unpaid))
				}
				var age time.Duration
				if len(unpaid) > 0 {
					age = now.Sub(unpaid[0])
				}
				if age >= 25*time.Hour && !b.Defaulted() {
					t.Fatalf("no default after %s", age)
				}
				if age < 24*time.Hour && b.Credit() != credit && now.Sub(today) < creditHalves {
					t.Fatalf("a default after %s", age)
				}
			},
		})
	})
}
