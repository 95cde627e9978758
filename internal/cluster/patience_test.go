package cluster

import (
	"math/rand/v2"
	"testing"
)

// ask is one request to subscribers of whom some never answer. It returns how many were expected.
func ask(p *Patience, subscribers, dead int) (expected int) {
	expected = p.Expect("/", subscribers)
	p.Note("/", subscribers, expected, max(dead-(subscribers-expected), 0))
	return expected
}

func TestPatience(t *testing.T) {
	var p Patience
	for i, tt := range []struct{ subscribers, dead, expected int }{
		{3, 0, 3}, {3, 1, 3}, {3, 0, 3}, // once is nothing
		{3, 1, 3}, {3, 1, 3}, {3, 1, 2}, {3, 1, 2}, // twice is a habit
		{4, 1, 4}, {4, 1, 4}, {4, 1, 3}, // until the number changes
		{4, 2, 3}, {4, 1, 3}, {4, 2, 3}, {4, 2, 3}, {4, 2, 2}, // one more, which needs two times too
		{2, 2, 2}, {2, 2, 2}, {2, 2, 0}, {2, 2, 0},
	} {
		if got := ask(&p, tt.subscribers, tt.dead); got != tt.expected {
			t.Errorf("request %d: %d of %d expected, want %d", i, got, tt.subscribers, tt.expected)
		}
	}
	p.Forget("/")
	if got := p.Expect("/", 2); got != 2 {
		t.Errorf("Expect after Forget = %d, want 2", got)
	}
	if len(p.known) != 0 {
		t.Error("something is left of a forgotten namespace")
	}
}

// Requests at the same time, which expected what was known when they began, never blame those that answer.
func TestPatienceProperties(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		var p Patience
		subscribers := 1 + r.IntN(5)
		dead := r.IntN(subscribers + 1)
		var open []int
		for range 100 {
			if r.IntN(2) == 0 {
				open = append(open, p.Expect("/", subscribers))
				continue
			}
			if len(open) == 0 {
				continue
			}
			i := r.IntN(len(open))
			expected := open[i]
			open = append(open[:i], open[i+1:]...)
			p.Note("/", subscribers, expected, max(dead-(subscribers-expected), 0))
			if got := p.Expect("/", subscribers); got < subscribers-dead || got > subscribers {
				t.Fatalf("seed %d: %d of %d expected, of whom %d are dead", seed, got, subscribers, dead)
			}
		}
		ask(&p, subscribers, dead)
		ask(&p, subscribers, dead)
		if got := p.Expect("/", subscribers); got != subscribers-dead {
			t.Fatalf("seed %d: %d of %d expected in the end, of whom %d are dead", seed, got, subscribers, dead)
		}
	}
}
