package redisadapter

import (
	"context"
	"time"

	"example.com/chorus/pkg/adapter"
)

// measureInterval is how often a reader asks how far behind it is.
const measureInterval = 5 * time.Second

// progress is how much of a stream was read, by the number that Redis gives to each entry that is ever added.
type progress struct {
	placed  bool   // read is known
	read    uint64 // number of the entry at the reader's position
	lag     uint64 // entries behind it, when that was measured last
	trimmed uint64 // entries that were gone before they were read
}

// measureAlways is the goroutine that measures; it ends with ctx.
func (r *streamReader) measureAlways(ctx context.Context) {
	tick := time.NewTicker(measureInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.measure(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// measure asks Redis how many entries there are and were. Servers before Redis 7 do not tell; nothing is known then.
func (r *streamReader) measure(ctx context.Context) {
	info, err := r.rdb.XInfoStream(ctx, r.stream).Result()
	if err != nil || info.EntriesAdded < info.Length || info.EntriesAdded == 0 {
		return // the reader meets errors of its own
	}
	last, ok := adapter.ParseOffset(info.LastGeneratedID)
	added, gone := uint64(info.EntriesAdded), uint64(info.EntriesAdded-info.Length)
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.progress
	if ok && r.known && r.position == last {
		if p.placed && p.read < added {
			p.trimmed += added - p.read
		}
		p.placed, p.read = true, added
	}
	if !p.placed {
		return
	}
	if p.read < gone {
		p.trimmed += gone - p.read
		p.read = gone
	}
	p.lag = added - min(p.read, added) // more may have been read since Redis answered
}

// addStats adds how far the reader is.
func (r *streamReader) addStats(s *adapter.StreamStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Lag += r.progress.lag
	s.Trimmed += r.progress.trimmed
}
