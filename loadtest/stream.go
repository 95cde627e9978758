//go:build linux

package main

// A stream follows the messages of one sender at one client. Messages are
// numbered from 0; what is missing at the end is lost.
type stream struct {
	next    int              // the lowest number above all seen
	missing map[int]struct{} // numbers below next that have not come
}

// verdict says how a message came.
type verdict int

const (
	inOrder    verdict = iota
	reordered          // late: a higher number came before
	duplicated         // seen before
)

func (s *stream) see(n int) verdict {
	if n >= s.next {
		for m := s.next; m < n; m++ {
			if s.missing == nil {
				s.missing = make(map[int]struct{})
			}
			s.missing[m] = struct{}{}
		}
		s.next = n + 1
		return inOrder
	}
	if _, ok := s.missing[n]; ok {
		delete(s.missing, n)
		return reordered
	}
	return duplicated
}

// lost returns how many of sent messages did not come.
func (s *stream) lost(sent int) int { return sent - s.next + len(s.missing) }
