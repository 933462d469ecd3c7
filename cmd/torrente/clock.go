package main

import (
	"fmt"
	"os"
	"time"
)

// clock is the time of day, for everything that compares its time with that of
// other machines. TORRENTE_CLOCK_OFFSET, a duration as -3h, makes it wrong: so
// tests show what a user with a wrong clock is told.
func clock() (func() time.Time, error) {
	text := os.Getenv("TORRENTE_CLOCK_OFFSET")
	if text == "" {
		return time.Now, nil
	}
	offset, err := time.ParseDuration(text)
	if err != nil {
		return nil, usageError{fmt.Errorf("TORRENTE_CLOCK_OFFSET: %q is not a duration as -3h", text)}
	}
	return func() time.Time { return time.Now().Add(offset) }, nil
}
