package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is an amount of bytes. In a configuration it is a whole number with an
// optional unit: B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers
// of 1024), as in "64KiB". Upper and lower case are the same.
type Bytes int64

// units in the order in which String tries them, largest first.
var units = []struct {
	name string
	size Bytes
}{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"kB", 1e3},
	{"B", 1},
}

// String gives the amount in the largest unit that divides it: "64KiB", "1500B".
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return "0B"
}

// MarshalText gives [Bytes.String].
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what the type's doc says. Amounts below zero and above
// 2^63-1 are errors.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	digits := strings.TrimRight(s, "kKmMgGtTiIbB ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not an amount of bytes such as 64KiB or 1MB", s)
	}
	unit := strings.TrimSpace(s[len(digits):])
	if unit == "" {
		unit = "B"
	}
	for _, u := range units {
		if !strings.EqualFold(unit, u.name) {
			continue
		}
		if n > math.MaxInt64/int64(u.size) {
			return fmt.Errorf("%q is too large", s)
		}
		*b = Bytes(n) * u.size
		return nil
	}
	return fmt.Errorf("%q has the unknown unit %q; use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB", s, unit)
}
