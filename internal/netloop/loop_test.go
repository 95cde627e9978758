package netloop

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forms runs a test with every way of serving connections that this system has.
func forms(t *testing.T, test func(t *testing.T, o Options)) {
	for name, o := range map[string]Options{
		"batches": {Mode: Fast}, "one by one": {Mode: Fast, OneByOne: true}, "portable": {Mode: Portable},
	} {
		t.Run(name, func(t *testing.T) {
			o.WriteTimeout, o.Linger = 10*time.Second, 2*time.Second
			l, err := New(o)
			switch {
			case err != nil && runtime.GOOS == "linux":
				t.Fatal(err)
			case err != nil:
				t.Skip(err)
			case o.Mode == Fast && l.Form() != map[bool]string{false: "epoll+io_submit", true: "epoll"}[o.OneByOne]:
				t.Errorf("form %s", l.Form())
			}
			l.Close()
			test(t, o)
		})
	}
}

// peer is one connection: the loop's side with its outbox, and the other end.
type peer struct {
	Conn
	outbox outbox.Outbox
	drops  outbox.Drops
	far    net.Conn
	failed chan error
	ended  chan error

	receive func(b []byte) Verdict // nil: what comes is ignored
}

func (p *peer) Receive(b []byte) Verdict {
	if p.receive == nil {
		return Continue
	}
	return p.receive(b)
}

func (p *peer) WriteFailed(err error) { p.failed <- err }
func (p *peer) Ended(err error)       { p.ended <- err }

var limits = outbox.Limits{Bytes: 64 << 20, Frames: 1 << 20}

func adopt(l *Loop, near, far net.Conn) *peer {
	p := &peer{far: far, failed: make(chan error, 1), ended: make(chan error, 1)}
	p.outbox.Init(&limits, &p.drops)
	p.Conn = l.Adopt(near, p)
	return p
}

func start(l *Loop, near, far net.Conn) *peer {
	p := adopt(l, near, far)
	p.Start(&p.outbox, nil)
	p.Read()
	return p
}

// end closes both ends and waits for the loop's.
func (p *peer) end(t testing.TB) {
	p.Close()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Error("Ended was not called within 10 s of Close")
	}
	_ = p.far.Close()
}

func connect(t testing.TB, l *Loop) *peer {
	t.Helper()
	near, far := pair(t)
	p := start(l, near, far)
	t.Cleanup(func() { p.end(t) })
	return p
}

func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if far, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func newLoop(t testing.TB, o Options) *Loop {
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close) // after the connections' clean-ups
	return l
}

// numbered is a frame that says which one it is.
func numbered(n, size int) *frame.Frame {
	b := frame.Begin(size)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return frame.Text(append(b, make([]byte, size-4)...))
}

// readNumbered fails unless the frames from..to arrive in order.
func readNumbered(r *bufio.Reader, from, to int) error {
	for n := from; n < to; n++ {
		var head [10]byte
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return fmt.Errorf("frame %d: %w", n, err)
		}
		size := int(head[1])
		switch size {
		case 126:
			_, _ = io.ReadFull(r, head[2:4])
			size = int(binary.BigEndian.Uint16(head[2:]))
		case 127:
			_, _ = io.ReadFull(r, head[2:10])
			size = int(binary.BigEndian.Uint64(head[2:]))
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("frame %d: %w", n, err)
		}
		if got := int(binary.BigEndian.Uint32(b)); head[0] != 0x81 || got != n {
			return fmt.Errorf("frame %d: header %x, number %d", n, head[0], got)
		}
	}
	return nil
}

func TestOrderAndTotals(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		const peers, messages = 40, 500
		var readers sync.WaitGroup
		all := make([]*peer, peers)
		for i := range all {
			all[i] = connect(t, l)
			readers.Go(func() {
				if err := readNumbered(bufio.NewReader(all[i].far), 0, messages); err != nil {
					t.Errorf("peer %d: %v", i, err)
				}
			})
		}
		bytes := 0
		for n := range messages {
			f := numbered(n, 20+n%300)
			for _, p := range all {
				if err := p.outbox.Push(f, outbox.Data); err != nil {
					t.Fatal(err)
				}
				bytes += f.Size()
			}
		}
		readers.Wait()
		waitFor(t, func() bool { return l.Stats().Bytes == uint64(bytes) })
		if s := l.Stats(); s.Flushes == 0 || s.Flushes > peers*messages {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("condition not met within 10 s")
		}
	}
}

// A client that reads nothing for a while gets every frame afterwards, in order; others are not disturbed, and
// volatile frames are refused meanwhile.
func TestStuckClientCatchesUp(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		stuck, other := connect(t, l), connect(t, l)
		const messages = 4000
		for n := range messages {
			if err := stuck.outbox.Push(numbered(n, 4096), outbox.Data); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, func() bool {
			return stuck.outbox.Push(numbered(0, 10), outbox.Volatile) == outbox.ErrDropped
		})
		for n := range 100 {
			_ = other.outbox.Push(numbered(n, 100), outbox.Data)
		}
		if err := readNumbered(bufio.NewReader(other.far), 0, 100); err != nil {
			t.Fatalf("other: %v", err)
		}
		if bytes, _ := stuck.outbox.Len(); bytes < 1<<20 {
			t.Errorf("the kernel holds all but %d bytes of 16 MB", bytes)
		}
		if err := readNumbered(bufio.NewReader(stuck.far), 0, messages); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { _, n := stuck.outbox.Len(); return n == 0 })
		waitFor(t, func() bool { // it is back
			return stuck.outbox.Push(numbered(0, 10), outbox.Volatile) == nil
		})
	})
}

func TestWriteTimeoutFails(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		o.WriteTimeout = 50 * time.Millisecond
		l := newLoop(t, o)
		p := connect(t, l)
		_ = p.outbox.Push(numbered(0, 32<<20), outbox.Data)
		select {
		case err := <-p.failed:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("failed: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a write that nobody takes did not fail")
		}
		if err := p.outbox.Push(numbered(1, 10), outbox.Data); err != outbox.ErrClosed {
			t.Errorf("Push = %v, want ErrClosed", err)
		}
	})
}

func TestFinishSendsAllThenHangsUp(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		p := connect(t, l)
		const messages = 2000
		for n := range messages - 1 {
			_ = p.outbox.Push(numbered(n, 2000), outbox.Data)
		}
		p.outbox.Finish(numbered(messages-1, 2000))
		r := bufio.NewReader(p.far)
		if err := readNumbered(r, 0, messages); err != nil {
			t.Fatal(err)
		}
		if b, err := r.ReadByte(); err != io.EOF {
			t.Fatalf("after the last frame: %x, %v, want EOF", b, err)
		}
	})
}

// TestPipe runs on the fake clock: a connection without a descriptor is served by a goroutine.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Options{WriteTimeout: time.Second, Linger: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		p := start(l, near, far)
		written := false
		_ = p.outbox.Push(numbered(0, 100).WithWritten(func() { written = true }), outbox.Data)
		time.Sleep(900 * time.Millisecond) // less than the write timeout
		if err := readNumbered(bufio.NewReader(far), 0, 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !written {
			t.Error("Written was not called")
		}
		p.outbox.Finish(numbered(1, 100))
		if err := readNumbered(bufio.NewReader(far), 1, 2); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-p.ended; err == nil || time.Since(began) != time.Second {
			t.Errorf("ended = %v after %v, want the linger's end", err, time.Since(began))
		}

		near2, far2 := net.Pipe()
		p2 := start(l, near2, far2)
		_ = p2.outbox.Push(numbered(0, 100), outbox.Data)
		began = time.Now()
		if err := <-p2.failed; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("failed = %v after %v", err, time.Since(began))
		}
		p2.Close()
		<-p2.ended
		_, _ = far.Close(), far2.Close()
		l.Close()
	})
}

// Connections come and go while their descriptors' numbers are used again: nobody gets another's bytes.
func TestChurn(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		var dialling sync.Mutex
		pair := func() (near, far net.Conn) {
			dialling.Lock()
			defer dialling.Unlock()
			far, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Error(err)
				return nil, nil
			}
			near, err = listener.Accept()
			if err != nil {
				t.Error(err)
			}
			return near, far
		}
		var workers sync.WaitGroup
		for w := range 16 {
			workers.Go(func() {
				for i := range 60 {
					near, far := pair()
					if far == nil {
						return
					}
					p := start(l, near, far)
					first := (w*60 + i) * 1000
					var pushing sync.WaitGroup
					pushing.Go(func() {
						for n := range 50 {
							if p.outbox.Push(numbered(first+n, 64), outbox.Data) != nil {
								return
							}
						}
					})
					want := rand.IntN(50) // then it goes in the middle
					if err := readNumbered(bufio.NewReaderSize(far, 16), first, first+want); err != nil {
						t.Errorf("worker %d: %v", w, err)
					}
					if i%2 == 0 {
						_ = far.Close()
					}
					p.end(t)
					pushing.Wait()
				}
			})
		}
		workers.Wait()
	})
}
