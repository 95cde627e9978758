package node

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
)

// size is a number of bytes, written as "1000000", "1MB" (10^6) or "1MiB" (2^20).
type size int

// UnmarshalText reads what the user wrote.
func (s *size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > math.MaxInt32 {
		return fmt.Errorf("%q is not a size such as 64kB, 1MB or 1MiB (less than 2GiB)", text)
	}
	*s = size(n)
	return nil
}

// String writes the size as UnmarshalText reads it.
func (s size) String() string {
	for _, unit := range []struct {
		bytes size
		name  string
	}{{1 << 30, "GiB"}, {1e9, "GB"}, {1 << 20, "MiB"}, {1e6, "MB"}, {1 << 10, "KiB"}, {1e3, "kB"}} {
		if s != 0 && s%unit.bytes == 0 {
			return strconv.Itoa(int(s/unit.bytes)) + unit.name
		}
	}
	return strconv.Itoa(int(s))
}
