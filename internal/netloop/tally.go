package netloop

import "example.com/chorus/internal/histogram"

// What is counted of everything that leaves.
var (
	// PacketSizes is the layout of bytes of packets.
	PacketSizes = histogram.Counts(64, 256, 1<<10, 4<<10, 16<<10, 64<<10, 256<<10, 1<<20)
	// FlushSizes is the layout of packets per flush.
	FlushSizes = histogram.Counts(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
)

// adder counts numbers: a Histogram, or a Tally for one.
type adder interface{ Add(n int) }

// written tells frames that they left together, counts them and returns how many messages they are. Packets without a
// message, such as pings, have no size worth counting.
func written(fs frames, packets, perFlush adder) (messages int) {
	for _, f := range fs {
		if n := f.Messages(); n > 0 {
			messages += n
			packets.Add(f.Size())
		}
		f.Written()
	}
	if len(fs) > 0 {
		perFlush.Add(len(fs))
	}
	return messages
}

// newTotals returns the totals of many connections, each with a goroutine of its own.
func newTotals() totals {
	return totals{packets: histogram.New(PacketSizes), perFlush: histogram.New(FlushSizes)}
}

// newLoneTotals returns the totals of one flush loop.
func newLoneTotals() totals {
	return totals{packets: histogram.NewLone(PacketSizes), perFlush: histogram.NewLone(FlushSizes)}
}

// written is that of a portable connection.
func (t *totals) written(fs frames) (messages int) { return written(fs, t.packets, t.perFlush) }

// tally gathers what one flush loop writes, so that a delivery costs no more than two additions to memory of its own.
type tally struct{ packets, perFlush *histogram.Tally }

func newTally() tally { return tally{histogram.NewTally(PacketSizes), histogram.NewTally(FlushSizes)} }

func (t *tally) written(fs frames) (messages int) { return written(fs, t.packets, t.perFlush) }

// take adds what a tally gathered to the totals.
func (t *totals) take(from *tally) {
	t.packets.Take(from.packets)
	t.perFlush.Take(from.perFlush)
}
