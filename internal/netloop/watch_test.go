package netloop

import (
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/chorus/internal/frame"
)

// A loop whose reader does not return, or whose frame does not when it is told that it was written, is named until it
// goes on.
func TestHanging(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		near, far := pair(t)
		hold, held := make(chan struct{}), make(chan struct{}, 2)
		stop := func() { held <- struct{}{}; <-hold }
		p := adopt(l, near, far)
		p.receive = func([]byte) Verdict { stop(); return Continue }
		p.Start(&p.outbox, nil)
		p.Read()
		for range 3 {
			if names := l.Hanging(time.Minute); names != nil {
				t.Fatalf("%q hang, want none", names)
			}
		}
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := p.outbox.Push(frame.Packet("4x").WithWritten(stop), 0); err != nil {
			t.Fatal(err)
		}
		<-held
		<-held
		if o.Mode != Portable {
			waitFor(t, func() bool {
				names := strings.Join(l.Hanging(time.Millisecond), ", ")
				return strings.Contains(names, "writing loop") && strings.Contains(names, "reading loop")
			})
		}
		close(hold)
		waitFor(t, func() bool { return l.Hanging(time.Millisecond) == nil })
		p.end(t)
	})
}

// What leaves is counted by packets and by flushes, whatever writes it.
func TestTallies(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		p := connect(t, l)
		const packets = 100
		for range packets {
			if err := p.outbox.Push(frame.Packet("4"+strings.Repeat("x", 97)), 0); err != nil { // 100 bytes with their header
				t.Fatal(err)
			}
		}
		if err := p.outbox.Push(frame.Packet("2"), 0); err != nil { // a ping
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		for read := 0; read < 100*packets+3; {
			n, err := p.far.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
		waitFor(t, func() bool { return l.Stats().Bytes == 100*packets+3 })
		s := l.Stats()
		size, flushes := s.Packets[0].Snapshot(s.Packets[1:]...), s.PerFlush[0].Snapshot(s.PerFlush[1:]...)
		if size.Count != packets || size.Sum != 100*packets || size.Classic[64] != 0 || size.Classic[256] != packets {
			t.Errorf("packets count as %+v, want %d of 100 bytes", size, packets)
		}
		if flushes.Count != s.Flushes || flushes.Sum != packets+1 {
			t.Errorf("flushes count as %+v, want %d with %d packets", flushes, s.Flushes, packets+1)
		}
		if !slices.Equal(PacketSizes.Bounds(), []float64{64, 256, 1024, 4096, 16384, 65536, 262144, 1048576}) {
			t.Errorf("bounds %v", PacketSizes.Bounds())
		}
	})
}
