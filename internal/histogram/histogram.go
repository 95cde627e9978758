package histogram

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// maxStripes bounds what a histogram costs on machines with many processors: two kilobytes each.
const maxStripes = 8

// Histogram counts observations. All methods are safe for concurrent use. A nil Histogram takes observations and
// forgets them.
type Histogram struct {
	layout  *Layout
	stripes []stripe
}

// stripe has a part of the observations, so that processors do not compete for the same memory.
type stripe struct {
	sum   atomic.Uint64
	cells []atomic.Uint64
	_     [64]byte
}

// New returns an empty histogram for as many processors as Go uses.
func New(l *Layout) *Histogram { return newStriped(l, min(runtime.GOMAXPROCS(0), maxStripes)) }

// NewLone returns an empty histogram for observations of one goroutine at a time.
func NewLone(l *Layout) *Histogram { return newStriped(l, 1) }

func newStriped(l *Layout, processors int) *Histogram {
	n := 1 << bits.Len(uint(processors-1))
	h := &Histogram{layout: l, stripes: make([]stripe, n)}
	for i := range h.stripes {
		h.stripes[i].cells = make([]atomic.Uint64, len(l.fine))
	}
	return h
}

// Add counts a whole number that is not negative.
func (h *Histogram) Add(n int) { h.add(uint64(n)) }

func (h *Histogram) add(n uint64) {
	if h == nil {
		return
	}
	s := h.stripe()
	s.cells[h.layout.cell(n)].Add(1)
	s.sum.Add(n)
}

// Observe counts a duration; one that is negative counts as none.
func (h *Histogram) Observe(d time.Duration) {
	h.add(uint64(float64(max(d, 0)) * (1 << 30 / 1e9)))
}

// Take moves what a Tally gathered, which must have the same layout, to the histogram.
func (h *Histogram) Take(t *Tally) {
	s := h.stripe()
	for _, c := range t.touched {
		s.cells[c].Add(uint64(t.cells[c]))
		t.cells[c] = 0
	}
	s.sum.Add(t.sum)
	t.touched, t.sum = t.touched[:0], 0
}

func (h *Histogram) stripe() *stripe {
	if len(h.stripes) == 1 {
		return &h.stripes[0]
	}
	return &h.stripes[int(rand.Uint32())&(len(h.stripes)-1)]
}

// Tally gathers whole numbers for a Histogram. It belongs to one goroutine.
type Tally struct {
	layout  *Layout
	cells   []uint32
	touched []uint16 // cells that are not 0
	sum     uint64

	last     uint64 // the receivers of a broadcast get the same
	lastCell int
}

// NewTally returns an empty tally.
func NewTally(l *Layout) *Tally {
	return &Tally{layout: l, cells: make([]uint32, len(l.fine)), touched: make([]uint16, 0, len(l.fine)), lastCell: l.cell(0)}
}

// Add gathers a whole number that is not negative.
func (t *Tally) Add(n int) {
	if uint64(n) != t.last {
		t.last, t.lastCell = uint64(n), t.layout.cell(uint64(n))
	}
	if t.cells[t.lastCell]++; t.cells[t.lastCell] == 1 {
		t.touched = append(t.touched, uint16(t.lastCell))
	}
	t.sum += t.last
}

// Snapshot is what a histogram counted, in the unit of its bounds.
type Snapshot struct {
	Count uint64
	Sum   float64
	// Classic has the number of observations that are not above each bound.
	Classic map[float64]uint64
	// Fine has the number of observations between 2^((i-1)/8) and 2^(i/8) for each i that has any, and Zero of those that
	// are not above ZeroThreshold and in none of them.
	Fine          map[int]int64
	Zero          uint64
	ZeroThreshold float64
}

// Snapshot returns what the histograms counted together, which must have the same layout: at least one.
func (h *Histogram) Snapshot(others ...*Histogram) Snapshot {
	l := h.layout
	s := Snapshot{Classic: make(map[float64]uint64, len(l.bounds)), Fine: make(map[int]int64)}
	if l.unit.least >= 0 {
		s.ZeroThreshold = math.Exp2(float64(l.unit.least)/perOctave - float64(l.unit.shift))
	}
	classes := make([]uint64, len(l.bounds)+1)
	var sum uint64
	for _, h := range append([]*Histogram{h}, others...) {
		for i := range h.stripes {
			sum += h.stripes[i].sum.Load()
			for c := range h.stripes[i].cells {
				n := h.stripes[i].cells[c].Load()
				if n == 0 {
					continue
				}
				s.Count += n
				classes[l.coarse[c]] += n
				if l.fine[c] == 0 {
					s.Zero += n
				} else {
					s.Fine[l.fine[c]+l.unit.least-l.unit.shift*perOctave] += int64(n)
				}
			}
		}
	}
	s.Sum = math.Ldexp(float64(sum), -l.unit.shift)
	var below uint64
	for i, bound := range l.bounds {
		below += classes[i]
		s.Classic[bound] = below
	}
	return s
}
