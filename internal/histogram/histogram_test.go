package histogram_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"example.com/chorus/internal/histogram"
)

var (
	sizes     = histogram.Counts(64, 256, 1024, 4096)
	odd       = histogram.Counts(1, 10, 100)
	latencies = histogram.Durations(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
)

// reference counts slowly.
func reference(bounds, values []float64, threshold float64) (classic map[float64]uint64, fine map[int]int64, zero uint64) {
	classic, fine = make(map[float64]uint64), make(map[int]int64)
	for _, bound := range bounds {
		classic[bound] = 0
	}
	for _, v := range values {
		for _, bound := range bounds {
			if v <= bound {
				classic[bound]++
			}
		}
		if v <= threshold {
			zero++
		} else {
			fine[int(math.Ceil(math.Log2(v)*8-1e-9))]++
		}
	}
	return classic, fine, zero
}

func compare(t *testing.T, s histogram.Snapshot, bounds, values []float64) {
	t.Helper()
	classic, fine, zero := reference(bounds, values, s.ZeroThreshold)
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	if s.Count != uint64(len(values)) || math.Abs(s.Sum-sum) > 1e-6*(1+sum) || s.Zero != zero {
		t.Errorf("count %d, sum %v, zero %d, want %d, %v, %d", s.Count, s.Sum, s.Zero, len(values), sum, zero)
	}
	for _, bound := range bounds {
		if s.Classic[bound] != classic[bound] {
			t.Errorf("%d observations up to %v, want %d", s.Classic[bound], bound, classic[bound])
		}
	}
	for i := range fine {
		if s.Fine[i] != fine[i] {
			t.Errorf("%d observations in bucket %d, up to %v, want %d", s.Fine[i], i, math.Exp2(float64(i)/8), fine[i])
		}
	}
	if len(s.Fine) != len(fine) || len(s.Classic) != len(bounds) {
		t.Errorf("%d fine and %d classic buckets, want %d and %d", len(s.Fine), len(s.Classic), len(fine), len(bounds))
	}
}

func TestCounts(t *testing.T) {
	for _, layout := range []*histogram.Layout{sizes, odd} {
		direct, gathered := histogram.New(layout), histogram.NewLone(layout)
		tally := histogram.NewTally(layout)
		var values []float64
		add := func(n int) {
			direct.Add(n)
			tally.Add(n)
			values = append(values, float64(n))
		}
		for n := range 5000 {
			add(n)
		}
		for range 5000 {
			add(rand.IntN(1 << 28))
		}
		gathered.Take(tally)
		compare(t, direct.Snapshot(), layout.Bounds(), values)
		compare(t, gathered.Snapshot(), layout.Bounds(), values)
		compare(t, direct.Snapshot(gathered), layout.Bounds(), append(values, values...))
		tally.Add(7) // and it is empty again
		gathered.Take(tally)
		compare(t, gathered.Snapshot(), layout.Bounds(), append(values, 7))
	}
}

func TestDurations(t *testing.T) {
	h := histogram.New(latencies)
	var values []float64
	observe := func(d time.Duration) {
		h.Observe(d)
		values = append(values, math.Floor(math.Max(float64(d), 0)*(1<<30/1e9))/(1<<30)) // a number is whole
	}
	for _, bound := range latencies.Bounds() { // which belong to the buckets below
		observe(time.Duration(math.Round(bound * 1e9)))
		observe(time.Duration(math.Round(bound*1e9)) + 2)
	}
	observe(0)
	observe(-time.Second)
	for range 10_000 {
		observe(time.Duration(math.Exp(rand.Float64()*25)) + 1)
	}
	compare(t, h.Snapshot(), latencies.Bounds(), values)
}

// What is beyond all buckets is in the last one.
func TestHuge(t *testing.T) {
	h := histogram.New(sizes)
	h.Add(math.MaxUint32)
	if s := h.Snapshot(); s.Fine[28*8] != 1 || s.Classic[4096] != 0 || s.Count != 1 {
		t.Errorf("a huge number counts as %+v", s)
	}
}

func TestNil(t *testing.T) {
	var h *histogram.Histogram
	h.Add(1)
	h.Observe(1)
}

func TestConcurrentObservations(t *testing.T) {
	h := histogram.New(sizes)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			tally := histogram.NewTally(sizes)
			for n := range 1000 {
				h.Add(n)
				tally.Add(n)
			}
			h.Take(tally)
			_ = h.Snapshot()
		})
	}
	all.Wait()
	if s := h.Snapshot(); s.Count != 16_000 || s.Sum != 16*999*500 {
		t.Errorf("count %d, sum %v", s.Count, s.Sum)
	}
}

func TestAllocations(t *testing.T) {
	h, tally := histogram.New(latencies), histogram.NewTally(sizes)
	n := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		n += 37
		h.Observe(time.Duration(n))
		tally.Add(n)
	}); allocs != 0 {
		t.Errorf("an observation allocates %v times", allocs)
	}
}

func BenchmarkObserve(b *testing.B) {
	h, d := histogram.New(latencies), time.Microsecond
	b.ReportAllocs()
	for b.Loop() {
		if d += 7919; d > time.Second {
			d = time.Microsecond
		}
		h.Observe(d)
	}
}

func BenchmarkTally(b *testing.B) {
	for name, step := range map[string]int{"same": 0, "another": 37} {
		b.Run(name, func(b *testing.B) {
			h, tally, n := histogram.New(sizes), histogram.NewTally(sizes), 100
			b.ReportAllocs()
			for b.Loop() {
				for range 256 {
					n = (n + step) & 0xfff
					tally.Add(n)
				}
				h.Take(tally)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/number")
		})
	}
}
