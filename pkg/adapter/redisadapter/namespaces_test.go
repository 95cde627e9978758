package redisadapter_test

import (
	"fmt"
	"runtime"
	"testing"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// TestManyNamespaces opens and closes dynamic namespaces: nothing of them stays, neither in Redis nor here.
func TestManyNamespaces(t *testing.T) {
	namespaces, together := 100_000, 5_000
	if raceEnabled {
		namespaces, together = 6_000, 2_000
	}
	server := startRedis(t)
	admin := client(t, server.addr)
	for name, s := range subscriptions {
		t.Run(name, func(t *testing.T) {
			p := join(t, server.addr, redisadapter.Options{Subscription: s})
			total := func() int {
				n := 0
				for _, each := range p.stats().Subscriptions {
					n += each
				}
				return n
			}
			round := func(from, to int) {
				links := make([]adapter.Link, 0, to-from)
				for i := from; i < to; i++ {
					link, err := p.adapter.Join(t.Context(), fmt.Sprint("/dynamic-", i), adaptertest.NewLocal("room"))
					if err != nil {
						t.Fatal(err)
					}
					link.(adapter.RoomFollower).FollowRoomSoon("room")
					links = append(links, link)
				}
				adaptertest.AwaitReady(t, p.adapter)
				if _, err := links[0].(adapter.Requester).Nodes(t.Context()); err != nil {
					t.Error(err)
				}
				for _, link := range links {
					if err := link.Leave(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			own := total()
			settled := func() bool { return total() == own }
			round(0, together) // grows what is kept on purpose: maps, buffers
			eventually(t, "unsubscribing", settled)
			before, goroutines := heap(), runtime.NumGoroutine()
			for i := 0; i < namespaces; i += together {
				round(i, i+together)
				eventually(t, "unsubscribing", settled)
			}
			// Tables keep the size they once had, give or take; 80 bytes of each namespace would show.
			if after := heap(); after > before+8<<20 {
				t.Errorf("%d namespaces left %d bytes behind", namespaces, after-before)
			}
			if n := runtime.NumGoroutine(); n > goroutines+5 {
				t.Errorf("%d goroutines, %d before", n, goroutines)
			}
			channels, err := admin.PubSubChannels(t.Context(), "*").Result()
			patterns, perr := admin.PubSubNumPat(t.Context()).Result()
			if err != nil || perr != nil || len(channels)+int(patterns) != own {
				t.Errorf("Redis has the channels %.10q and %d patterns (%v, %v), want %d in all", channels, patterns, err, perr, own)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
