//go:build linux

package main

import "testing"

func TestStream(t *testing.T) {
	for _, c := range []struct {
		name                        string
		seen                        []int
		sent                        int
		lost, reordered, duplicated int
	}{
		{"all in order", []int{0, 1, 2, 3}, 4, 0, 0, 0},
		{"nothing came", nil, 3, 3, 0, 0},
		{"first lost", []int{1, 2}, 3, 1, 0, 0},
		{"last two lost", []int{0, 1}, 4, 2, 0, 0},
		{"hole", []int{0, 3}, 4, 2, 0, 0},
		{"swapped", []int{0, 2, 1, 3}, 4, 0, 1, 0},
		{"late after a hole", []int{0, 4, 2, 1}, 5, 1, 2, 0},
		{"twice", []int{0, 1, 1, 2, 0}, 3, 0, 0, 2},
		{"late and twice", []int{1, 0, 0}, 2, 0, 1, 1},
		{"reversed", []int{3, 2, 1, 0}, 4, 0, 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s stream
			got := map[verdict]int{}
			for _, n := range c.seen {
				got[s.see(n)]++
			}
			if s.lost(c.sent) != c.lost || got[reordered] != c.reordered || got[duplicated] != c.duplicated {
				t.Errorf("lost, reordered, duplicated = %d, %d, %d, want %d, %d, %d",
					s.lost(c.sent), got[reordered], got[duplicated], c.lost, c.reordered, c.duplicated)
			}
		})
	}
}
