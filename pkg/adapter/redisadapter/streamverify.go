package redisadapter

import (
	"context"
	"fmt"
)

// verifyPage is how many entries are read at once when own ones are looked for.
const verifyPage = 1000

// nextNumber returns the number of the next entry. Only the publisher's goroutine calls it, in the order in which it sends.
func (a *streams) nextNumber() uint64 {
	a.added++
	return a.added
}

// verify looks for entries whose answers got lost and returns those that are not in their stream. One may still come there
// later, if a proxy holds it up: then it is there twice, and nodes of Chorus read it once.
func (a *streams) verify(ctx context.Context, uncertain []outgoing) (missing []outgoing, err error) {
	found := make(map[uint64]struct{})
	oldest := make(map[string]uint64) // number, by stream
	for _, o := range uncertain {
		if n, ok := oldest[o.channel]; !ok || o.entry.number < n {
			oldest[o.channel] = o.entry.number
		}
	}
	for stream, number := range oldest {
		if err := a.findOwn(ctx, stream, number, found); err != nil {
			return nil, err
		}
	}
	for _, o := range uncertain {
		if _, ok := found[o.entry.number]; !ok {
			missing = append(missing, o)
		}
	}
	return missing, nil
}

// findOwn reads a stream backwards and adds the numbers of own entries, from the given one on.
func (a *streams) findOwn(ctx context.Context, stream string, oldest uint64, found map[uint64]struct{}) error {
	for end, seen := "+", int64(0); seen <= a.streamsOpts.MaxLen; {
		entries, err := a.rdb.XRevRangeN(ctx, stream, end, "-", verifyPage).Result()
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
		for i := range entries {
			e, ok, err := readEntry(&entries[i])
			if !ok || err != nil || e.uid != a.uid {
				continue
			}
			if e.number < oldest {
				return nil
			}
			found[e.number] = struct{}{}
		}
		if len(entries) < verifyPage {
			return nil
		}
		end = entries[len(entries)-1].ID // is read again, which harms nothing
		seen += int64(len(entries))
	}
	return nil
}
