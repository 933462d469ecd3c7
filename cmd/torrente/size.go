package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// units of sizes, largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseSize reads a number of bytes: 16384, 16KiB, "4 MiB".
func parseSize(s string) (int64, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if before, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(before), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is no size: give bytes, or KiB, MiB, GiB as in 16KiB", s)
	}
	return n * unit, nil
}

// formatSize writes bytes for people: exact where a unit divides them.
func formatSize(n int64) string {
	for _, u := range sizeUnits {
		switch {
		case n < u.bytes:
		case n%u.bytes == 0:
			return fmt.Sprintf("%d %s", n/u.bytes, u.name)
		default:
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.bytes), u.name)
		}
	}
	return "0 B"
}
