package redisadapter

import (
	"errors"
	"fmt"
	"testing"
)

func TestProbe(t *testing.T) {
	var done []func(error)
	var sent []string
	p := newProbe(interest{channel: "c"}, func(payload string, f func(error)) { sent, done = append(sent, payload), append(done, f) })
	hear := func(payload string) { p.hear(heard{payload: payload}) }
	judge := func(what string, want bool) {
		t.Helper()
		if got := p.deaf(p.mark()); got != want {
			t.Errorf("%s: deaf = %v, want %v", what, got, want)
		}
	}
	judge("nothing sent", false)
	for range 5 {
		p.send()
	}
	judge("nothing taken by Redis", false)
	done[0](errors.New("no permission"))
	judge("refused by Redis", false)
	done[1](nil)
	judge("two missed", true)
	hear("2")
	judge("heard", false)
	done[2](nil)
	judge("one missed", false)
	done[4](nil)
	judge("three missed", true)
	for _, forged := range []string{"", "-1", "x", "1", "6", "99999999999999999999"} {
		hear(forged)
	}
	judge("forged numbers", true)
	p.restart()
	judge("a new connection", false)
	p.send()
	p.send()
	done[6](nil)
	judge("a new connection that is deaf too", true)
	hear(sent[6])
	judge("heard late", false)
	for _, pong := range []string{"", "whole", "probe ", "probe x"} {
		if p.deaf(pong) {
			t.Errorf("deaf(%q), want nothing to follow", pong)
		}
	}
	if got := fmt.Sprint(sent); got != "[1 2 3 4 5 6 7]" {
		t.Errorf("sent %s", got)
	}
	var none *probe
	none.restart()
	none.send()
	if none.mark() != "" || none.deaf("probe 9") {
		t.Error("no probe finds deafness")
	}
}
