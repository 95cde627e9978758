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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forms runs a test with every way of submitting that this system has.
func forms(t *testing.T, test func(t *testing.T, o Options)) {
	for name, oneByOne := range map[string]bool{"batches": false, "one by one": true} {
		t.Run(name, func(t *testing.T) {
			if s := newBatchSubmitter(); !oneByOne && s == nil {
				t.Skip("this system submits no batches")
			} else if s != nil {
				s.close()
			}
			test(t, Options{WriteTimeout: 10 * time.Second, Linger: 2 * time.Second, OneByOne: oneByOne})
		})
	}
}

// peer is one connection: the loop's side with its outbox, and the other end.
type peer struct {
	*Conn
	outbox outbox.Outbox
	drops  outbox.Drops
	far    net.Conn
	failed chan error
}

var limits = outbox.Limits{Bytes: 64 << 20, Frames: 1 << 20}

func start(l *Loop, near, far net.Conn) *peer {
	p := &peer{far: far, failed: make(chan error, 1)}
	p.outbox.Init(&limits, &p.drops)
	p.Conn = l.Wrap(near)
	p.Start(&p.outbox, nil, func(err error) { p.failed <- err })
	return p
}

func connect(t testing.TB, l *Loop) *peer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	far, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := start(l, near, far)
	t.Cleanup(func() { _, _ = p.Close(), far.Close() })
	return p
}

func newLoop(t testing.TB, o Options) *Loop {
	l := New(o)
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
		l := New(Options{WriteTimeout: time.Second, Linger: time.Second})
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
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("read = %v after %v, want the linger's end", err, time.Since(began))
		}

		near2, far2 := net.Pipe()
		p2 := start(l, near2, far2)
		_ = p2.outbox.Push(numbered(0, 100), outbox.Data)
		began = time.Now()
		if err := <-p2.failed; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("failed = %v after %v", err, time.Since(began))
		}
		_, _, _, _ = p.Close(), far.Close(), p2.Close(), far2.Close()
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
					_, _ = p.Close(), far.Close()
					pushing.Wait()
				}
			})
		}
		workers.Wait()
	})
}

func TestInterceptedWrites(t *testing.T) {
	l := newLoop(t, Options{WriteTimeout: time.Second, Linger: time.Second})
	p := connect(t, l)
	if _, err := p.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	p.Intercept(func(b []byte) { got = append(got, b...) })
	_, _ = p.Write([]byte("b"))
	_ = p.SetDeadline(time.Unix(1, 0))
	_ = p.SetWriteDeadline(time.Unix(1, 0))
	if err := p.WriteNow([]byte("c")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if _, err := io.ReadFull(p.far, b); err != nil || string(b) != "ac" || string(got) != "b" {
		t.Errorf("peer got %q (%v), the function %q", b, err, got)
	}
	if _, err := p.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %v, want the deadline that was set", err)
	}
}
