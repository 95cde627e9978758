package outbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

type consumer struct{ woken int }

func (c *consumer) Wake() { c.woken++ }

func message(size int) *frame.Frame { return frame.Packet("4" + strings.Repeat("x", size-1)) }

func newOutbox(l outbox.Limits) (*outbox.Outbox, *outbox.Drops, *consumer) {
	o, d, c := &outbox.Outbox{}, &outbox.Drops{}, &consumer{}
	o.Init(&l, d)
	o.Attach(c)
	return o, d, c
}

func take(o *outbox.Outbox, limit int) ([]*frame.Frame, bool) {
	return o.Take(nil, limit, (*frame.Frame).Size)
}

func TestPush(t *testing.T) {
	small, large := message(100), message(5000)
	type step struct {
		f    *frame.Frame
		kind outbox.Kind
		want error
	}
	data := func(f *frame.Frame, want error) step { return step{f, outbox.Data, want} }
	for name, tc := range map[string]struct {
		limits outbox.Limits
		steps  []step
		queued int
		drops  [2]uint64 // volatile, queue full
	}{
		"one message of any size": {outbox.Limits{Bytes: 1000, Frames: 10},
			[]step{data(large, nil)}, 1, [2]uint64{}},
		"overflow in bytes closes": {outbox.Limits{Bytes: 1000, Frames: 10},
			[]step{data(small, nil), data(large, outbox.ErrFull), data(small, outbox.ErrClosed)}, 0, [2]uint64{0, 2}},
		"overflow in frames closes": {outbox.Limits{Bytes: 1000, Frames: 2},
			[]step{data(small, nil), data(small, nil), data(small, outbox.ErrFull)}, 0, [2]uint64{0, 3}},
		"policy drops": {outbox.Limits{Bytes: 1000, Frames: 1, DropVolatile: true},
			[]step{data(small, nil), data(small, outbox.ErrDropped)}, 1, [2]uint64{0, 1}},
		"volatile makes room": {outbox.Limits{Bytes: 1000, Frames: 3},
			[]step{{small, outbox.Volatile, nil}, data(small, nil), {small, outbox.Volatile, nil}, data(small, nil),
				data(small, nil), data(small, outbox.ErrFull)}, 0, [2]uint64{2, 4}},
		"volatile makes room in bytes": {outbox.Limits{Bytes: 310, Frames: 9},
			[]step{data(small, nil), {small, outbox.Volatile, nil}, {small, outbox.Volatile, nil}, data(message(150), nil)},
			2, [2]uint64{2, 0}},
		"volatile does not fit": {outbox.Limits{Bytes: 1000, Frames: 1},
			[]step{data(small, nil), {small, outbox.Volatile, outbox.ErrDropped}}, 1, [2]uint64{1, 0}},
		"control always fits": {outbox.Limits{Bytes: 1000, Frames: 1},
			[]step{data(small, nil), {small, outbox.Control, nil}}, 2, [2]uint64{}},
	} {
		t.Run(name, func(t *testing.T) {
			o, drops, _ := newOutbox(tc.limits)
			for i, s := range tc.steps {
				if err := o.Push(s.f, s.kind); err != s.want {
					t.Fatalf("step %d: Push = %v, want %v", i, err, s.want)
				}
			}
			if bytes, n := o.Len(); n != tc.queued || (n == 0) != (bytes == 0) {
				t.Errorf("Len = %d, %d, want %d frames", bytes, n, tc.queued)
			}
			if got := [2]uint64{drops.Volatile.Load(), drops.QueueFull.Load()}; got != tc.drops {
				t.Errorf("drops = %v, want %v", got, tc.drops)
			}
		})
	}
}

func TestVolatileNeedsReadyConsumer(t *testing.T) {
	o, _, c := newOutbox(outbox.Limits{Bytes: 1000, Frames: 10})
	push := func(want error) {
		t.Helper()
		if err := o.Push(message(10), outbox.Volatile); err != want {
			t.Errorf("Push = %v, want %v", err, want)
		}
	}
	push(nil)
	o.Stall(true)
	push(outbox.ErrDropped)
	o.Stall(false)
	push(nil)
	o.Detach()
	push(outbox.ErrDropped)
	o.Attach(c)
	push(nil)
}

func TestConsumerIsWokenOncePerClaim(t *testing.T) {
	o, _, c := newOutbox(outbox.Limits{Bytes: 1000, Frames: 10})
	woken := func(want int) {
		t.Helper()
		if c.woken != want {
			t.Fatalf("woken %d times, want %d", c.woken, want)
		}
	}
	f := message(10)
	_ = o.Push(f, outbox.Data)
	_ = o.Push(f, outbox.Data)
	woken(1)
	if frames, _ := take(o, f.Size()); len(frames) != 1 {
		t.Fatalf("took %d frames, want 1", len(frames))
	}
	if !o.Release() {
		t.Fatal("Release = false, want more")
	}
	_ = o.Push(f, outbox.Data)
	woken(1)
	take(o, 1000)
	if o.Release() {
		t.Fatal("Release = true, want an empty queue")
	}
	_ = o.Push(f, outbox.Data)
	woken(2)
	other := &consumer{}
	o.Detach()
	o.Attach(other)
	if other.woken != 1 {
		t.Fatalf("new consumer woken %d times, want 1", other.woken)
	}
}

func TestTakeReleasing(t *testing.T) {
	o, _, c := newOutbox(outbox.Limits{Bytes: 1000, Frames: 10})
	f := message(10)
	push := func(woken int) {
		t.Helper()
		if err := o.Push(f, outbox.Data); err != nil || c.woken != woken {
			t.Fatalf("Push = %v, woken %d times, want %d", err, c.woken, woken)
		}
	}
	takes := func(limit, n int, released bool) {
		t.Helper()
		frames, got, finished := o.TakeReleasing(nil, limit, (*frame.Frame).Size)
		if len(frames) != n || got != released || finished {
			t.Fatalf("took %d frames, released %v, finished %v; want %d, %v, false", len(frames), got, finished, n, released)
		}
	}
	push(1)
	push(1)
	takes(f.Size(), 1, false)
	push(1)
	takes(1000, 2, true)
	if o.Hold() {
		t.Error("Hold says that a consumer was woken for an empty queue")
	}
	push(1)
	if err := o.Push(f, outbox.Volatile); err != outbox.ErrDropped {
		t.Errorf("Push of a volatile frame = %v, want ErrDropped", err)
	}
	takes(1000, 1, false)
	o.Stall(false)
	takes(1000, 0, true)
	push(2)
	if !o.Hold() {
		t.Error("Hold does not say that the consumer was woken")
	}
	o.Stall(false)
	o.Finish(f)
	if frames, released, finished := o.TakeReleasing(nil, 1000, (*frame.Frame).Size); len(frames) != 2 || released || !finished {
		t.Errorf("took %d frames, released %v, finished %v; want 2, false, true", len(frames), released, finished)
	}
}

func TestOrderAndLimitOfTake(t *testing.T) {
	o, _, _ := newOutbox(outbox.Limits{Bytes: 1 << 20, Frames: 1000})
	next, taken := 0, 0
	var queue []*frame.Frame
	for round := range 300 {
		for range round % 7 {
			f := message(10 + next%50)
			queue = append(queue, f)
			next++
			if err := o.Push(f, outbox.Data); err != nil {
				t.Fatal(err)
			}
		}
		frames, _ := take(o, 100)
		size := 0
		for _, f := range frames {
			if f != queue[taken] {
				t.Fatalf("frame %d is not the one that was pushed", taken)
			}
			taken++
			size += f.Size()
		}
		if size > 100 && len(frames) > 1 {
			t.Fatalf("took %d bytes in %d frames, limit 100", size, len(frames))
		}
		if _, n := o.Len(); n != next-taken {
			t.Fatalf("Len = %d frames, want %d", n, next-taken)
		}
	}
	if taken < 500 {
		t.Fatalf("only %d frames taken", taken)
	}
}

func TestFinish(t *testing.T) {
	o, _, c := newOutbox(outbox.Limits{Bytes: 1000, Frames: 1})
	f, last := message(10), message(10)
	_ = o.Push(f, outbox.Data)
	if !o.Finish(last) || o.Finish(last) {
		t.Fatal("Finish must succeed once")
	}
	if err := o.Push(f, outbox.Control); err != outbox.ErrClosed {
		t.Fatalf("Push = %v, want ErrClosed", err)
	}
	if frames, finished := take(o, f.Size()); len(frames) != 1 || finished {
		t.Fatalf("took %d frames, finished %v", len(frames), finished)
	}
	if frames, finished := take(o, 1000); len(frames) != 1 || frames[0] != last || !finished {
		t.Fatalf("took %d frames, finished %v", len(frames), finished)
	}
	if c.woken != 1 {
		t.Fatalf("woken %d times, want 1", c.woken)
	}
}

func TestCloseDropsAndCounts(t *testing.T) {
	o, drops, _ := newOutbox(outbox.Limits{Bytes: 1000, Frames: 10})
	_ = o.Push(message(10), outbox.Data)
	_ = o.Push(message(10), outbox.Data)
	o.Close()
	if frames, finished := take(o, 1000); len(frames) != 0 || finished {
		t.Fatalf("took %d frames, finished %v", len(frames), finished)
	}
	if got := drops.Closed.Load(); got != 2 {
		t.Fatalf("dropped = %d, want 2", got)
	}
}

func TestPushWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, _ := newOutbox(outbox.Limits{Bytes: 1000, Frames: 1})
		_ = o.Push(message(10), outbox.Data)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.PushWait(ctx, message(10)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("PushWait = %v, want DeadlineExceeded", err)
		}
		done := make(chan error, 2)
		for range 2 {
			go func() { done <- o.PushWait(t.Context(), message(10)) }()
		}
		synctest.Wait()
		take(o, 1000)
		if err := <-done; err != nil {
			t.Fatalf("PushWait = %v", err)
		}
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("both found room for one")
		}
		o.Close()
		if err := <-done; err != outbox.ErrClosed {
			t.Fatalf("PushWait = %v, want ErrClosed", err)
		}
	})
}

func TestPushAllocatesNothing(t *testing.T) {
	o, _, _ := newOutbox(outbox.Limits{Bytes: 1 << 20, Frames: 4096})
	f := message(100)
	frames := make([]*frame.Frame, 0, 8)
	if n := testing.AllocsPerRun(1000, func() {
		for range 5 {
			_ = o.Push(f, outbox.Data)
		}
		o.Take(frames, 64<<10, (*frame.Frame).Size)
		o.Release()
	}); n != 0 {
		t.Fatalf("%v allocations, want 0", n)
	}
}

func BenchmarkPush(b *testing.B) {
	o, _, _ := newOutbox(outbox.Limits{Bytes: 1 << 20, Frames: 4096})
	f := message(100)
	frames := make([]*frame.Frame, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		_ = o.Push(f, outbox.Data)
		o.Take(frames, 64<<10, (*frame.Frame).Size)
		o.Release()
	}
}

func TestFinishApart(t *testing.T) {
	var o outbox.Outbox
	o.Init(&outbox.Limits{Bytes: 1 << 20, Frames: 100}, new(outbox.Drops))
	o.Attach(idle{})
	for range 3 {
		if err := o.Push(frame.Packet("4x"), outbox.Data); err != nil {
			t.Fatal(err)
		}
	}
	o.FinishApart(frame.Packet("6"), frame.Packet("1"))
	for _, want := range []int{3, 2} {
		frames, finished := o.Take(nil, 1000, (*frame.Frame).Size)
		if len(frames) != want || finished != (want == 2) {
			t.Errorf("Take = %d frames, finished %t; want %d", len(frames), finished, want)
		}
	}
}

// idle is a consumer that never takes anything by itself.
type idle struct{}

func (idle) Wake() {}

// Those who wait for room leave half of it to those who cannot.
func TestWaitersLeaveRoom(t *testing.T) {
	var o outbox.Outbox
	o.Init(&outbox.Limits{Bytes: 1 << 20, Frames: 100}, new(outbox.Drops))
	o.Attach(idle{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for ; o.PushWait(ended, frame.Packet("4x")) == nil; n++ {
	}
	if n != 50 {
		t.Errorf("%d waiters were admitted, want 50", n)
	}
	for i := range 50 {
		if err := o.Push(frame.Packet("4y"), outbox.Data); err != nil {
			t.Fatalf("broadcast %d: %v", i, err)
		}
	}
	if err := o.Push(frame.Packet("4y"), outbox.Data); err != outbox.ErrFull {
		t.Errorf("Push beyond the limit = %v, want ErrFull", err)
	}
}

// The last frames can be changed as long as nobody took them.
func TestRefinish(t *testing.T) {
	var o outbox.Outbox
	o.Init(&outbox.Limits{Bytes: 1 << 20, Frames: 100}, new(outbox.Drops))
	o.Attach(idle{})
	data, last := frame.Packet("4x"), frame.Packet("5")
	if err := o.Push(data, outbox.Data); err != nil {
		t.Fatal(err)
	}
	if o.Refinish(last) {
		t.Error("Refinish of an outbox that is open")
	}
	o.FinishApart(frame.Packet("6"), frame.Packet("1"))
	if !o.Refinish(last) {
		t.Error("Refinish = false")
	}
	if bytes, n := o.Len(); n != 2 || bytes != data.Size()+last.Size() {
		t.Errorf("%d frames of %d bytes wait, want 2 of %d", n, bytes, data.Size()+last.Size())
	}
	if frames, finished := o.Take(nil, 1000, (*frame.Frame).Size); len(frames) != 2 || frames[1] != last || !finished {
		t.Errorf("Take = %d frames, finished %t; want the data and the last one together", len(frames), finished)
	}
	if o.Refinish(last) {
		t.Error("Refinish after the last frame was taken")
	}
}

// A full queue that loses its volatile frames one by one does so in its own memory.
func TestDropVolatileAllocatesNothing(t *testing.T) {
	const frames = 256
	o, drops, _ := newOutbox(outbox.Limits{Bytes: 1 << 20, Frames: frames})
	f := message(10)
	for i := range frames {
		_ = o.Push(f, []outbox.Kind{outbox.Data, outbox.Volatile}[i%2])
	}
	if n := testing.AllocsPerRun(frames/2-2, func() {
		if err := o.Push(f, outbox.Data); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if n := drops.Volatile.Load(); n != frames/2-1 {
		t.Errorf("%d volatile frames dropped, want %d", n, frames/2-1)
	}
}
