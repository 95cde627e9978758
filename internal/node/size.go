package node

import (
	"fmt"
	"math"

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
