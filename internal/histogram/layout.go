// Package histogram counts whole numbers in the buckets of two histograms at once: a classic one, whose bounds the owner
// chooses, and a fine one, whose bounds grow by the eighth root of two, as those of a native histogram of Prometheus
// (schema 3). An observation costs a tenth of what it does with the Prometheus client, and numbers that one goroutine
// sees many of can be gathered in a Tally, which costs nobody else anything.
package histogram

import (
	"math"
	"math/bits"
	"slices"
)

// Schema is that of the fine buckets: there are 2^Schema from one power of two to the next.
const Schema = 3

const (
	perOctave = 1 << Schema
	octaves   = 28 // that have buckets of their own
	fine      = octaves*perOctave + 2
)

// unit is what numbers stand for: 2^shift of them are 1. What is not above the bucket of number least is next to nothing.
type unit struct {
	shift int
	least int
}

// A number of seconds is one of 2^-30 s, so that its buckets are those of seconds; those of a microsecond and less are
// next to nothing.
var (
	ones    = unit{0, -1}
	seconds = unit{30, 10 * perOctave}
)

// Layout divides numbers into cells, each of which is in one bucket of either histogram. Many histograms share it.
type Layout struct {
	unit   unit
	bounds []float64
	// first is the cell of a fine bucket, or of its numbers that are not above split, the classic bound inside of it. The
	// first one is that of what is next to nothing.
	first  [fine]uint16
	split  [fine]uint64
	fine   []int // by cell: its fine bucket
	coarse []int // by cell: its classic bucket
}

// Counts returns a layout for whole numbers. Bounds must grow at least by the factor two, and begin with one or more.
func Counts(bounds ...float64) *Layout { return newLayout(ones, bounds) }

// Durations returns a layout for durations. Bounds are in seconds, and must grow at least by the factor two.
func Durations(bounds ...float64) *Layout { return newLayout(seconds, bounds) }

func newLayout(u unit, bounds []float64) *Layout {
	l := &Layout{unit: u, bounds: slices.Clone(bounds)}
	class := 0
	for i := range l.first {
		l.first[i], l.split[i] = uint16(len(l.fine)), math.MaxUint64
		l.fine, l.coarse = append(l.fine, i), append(l.coarse, class)
		if class == len(bounds) {
			continue
		}
		bound := math.Ldexp(bounds[class], u.shift)
		switch end := math.Exp2(float64(i+u.least) / perOctave); {
		case bound < end:
			class++
			l.split[i] = uint64(bound)
			l.fine, l.coarse = append(l.fine, i), append(l.coarse, class)
		case bound == end:
			class++
		}
	}
	return l
}

// Bounds returns the upper bounds of the classic buckets. The caller must not change them.
func (l *Layout) Bounds() []float64 { return l.bounds }

// cell returns the cell of a number.
func (l *Layout) cell(n uint64) int {
	i := min(max(position(n)-l.unit.least, 0), fine-1)
	c := int(l.first[i])
	if n > l.split[i] {
		c++
	}
	return c
}

// roots are 2^(i/8) for i from 1 on, times 2^63.
var roots = func() (r [perOctave - 1]uint64) {
	for i := range r {
		r[i] = uint64(math.Exp2(63 + float64(i+1)/perOctave))
	}
	return r
}()

// position returns the least i for which n <= 2^(i/8); -1 for 0.
func position(n uint64) int {
	if n <= 1 {
		return int(n) - 1
	}
	length := bits.Len64(n)
	i, mantissa := (length-1)*perOctave, n<<(64-length)
	if mantissa == 1<<63 {
		return i
	}
	i++
	for _, r := range &roots {
		if mantissa > r {
			i++
		}
	}
	return i
}
