package netloop

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/chorus/internal/outbox"
)

// What arrives is received in order, whatever its size.
func TestReceive(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		near, far := pair(t)
		p := adopt(l, near, far)
		var got bytes.Buffer
		all := make(chan struct{})
		want := make([]byte, 3<<20)
		for i := range len(want) / 4 {
			binary.BigEndian.PutUint32(want[4*i:], uint32(i))
		}
		p.receive = func(b []byte) Verdict {
			if got.Write(b); got.Len() == len(want) {
				close(all)
			}
			return Continue
		}
		p.Read()
		defer p.end(t)
		for b := want; len(b) > 0; { // small pieces and large ones
			n := min(len(b), 1+len(b)/5)
			if _, err := far.Write(b[:n]); err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
		<-all
		if !bytes.Equal(got.Bytes(), want) {
			t.Error("received something else than was sent")
		}
	})
}

// A reader that pauses hears nothing until it is resumed, and misses nothing. Resume may come before the pause.
func TestPauseAndResume(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		near, far := pair(t)
		p := adopt(l, near, far)
		var calls atomic.Int32
		paused, got := make(chan struct{}), make(chan string, 10)
		p.receive = func(b []byte) Verdict {
			switch calls.Add(1) {
			case 1:
				p.Resume() // earlier than the verdict
				return Pause
			case 2:
				close(paused)
				return Pause
			}
			got <- string(b)
			return Continue
		}
		p.Read()
		defer p.end(t)
		if _, err := far.Write([]byte("a")); err != nil {
			t.Fatal(err)
		}
		<-paused
		if _, err := far.Write([]byte("b")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // time for a mistake
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls of a reader that pauses", n)
		}
		p.Resume()
		if first, second := <-got, <-got; first != "" || second != "b" {
			t.Errorf("after Resume %q, then %q; want nothing new, then b", first, second)
		}
	})
}

// A connection that pauses costs nothing, and ends when it is reset or closed.
func TestEndWhilePaused(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		for name, end := range map[string]func(p *peer){
			"reset": func(p *peer) {
				_ = p.far.(*net.TCPConn).SetLinger(0)
				_ = p.far.Close()
			},
			"closed": func(p *peer) { p.Close() },
		} {
			near, far := pair(t)
			p := adopt(l, near, far)
			paused := make(chan struct{})
			first := true
			p.receive = func([]byte) Verdict {
				if !first {
					return Skip
				}
				first = false
				close(paused)
				return Pause
			}
			p.Read()
			_, _ = far.Write(make([]byte, 100))
			<-paused
			end(p)
			if o.Mode == Portable {
				p.Resume() // its goroutine waits for that alone
			}
			if err := <-p.ended; err == nil {
				t.Errorf("%s: ended without an error", name)
			}
			_ = far.Close()
		}
	})
}

// The last words reach a peer that has sent more than anybody read.
func TestPart(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		for _, early := range []bool{true, false} {
			l := newLoop(t, o)
			near, far := pair(t)
			p := adopt(l, near, far)
			p.receive = func([]byte) Verdict {
				if !early {
					p.Part([]byte("bye"))
				}
				return Skip
			}
			if early {
				p.Part([]byte("bye"))
			}
			if _, err := far.Write(make([]byte, 300<<10)); err != nil {
				t.Fatal(err)
			}
			p.Read()
			b, err := io.ReadAll(far)
			if err != nil || string(b) != "bye" {
				t.Errorf("early %v: peer got %q, %v", early, b, err)
			}
			_ = far.Close()
			if err := <-p.ended; err == nil {
				t.Error("ended without an error")
			}
		}
	})
}

// A peer that does not hang up is cut off after the linger time.
func TestLinger(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		o.Linger = 50 * time.Millisecond
		l := newLoop(t, o)
		p := connect(t, l)
		p.outbox.Finish(numbered(0, 100))
		p.ended <- <-p.ended // for end, which waits for it too
	})
}

func TestCloseBeforeRead(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		near, far := pair(t)
		p := adopt(l, near, far)
		p.Close()
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("peer reads %v, want EOF", err)
		}
		p.Read()
		p.end(t)
	})
}

func TestHangUp(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		var all []*peer
		for range 20 {
			all = append(all, connect(t, l))
		}
		if s := l.Stats(); s.Fast+s.Portable != 20 || (s.Fast == 0) != (o.Mode == Portable) {
			t.Errorf("Stats = %+v", s)
		}
		l.HangUp()
		for _, p := range all {
			p.ended <- <-p.ended
		}
		if s := l.Stats(); s.Fast+s.Portable != 0 {
			t.Errorf("Stats = %+v after all ended", s)
		}
	})
}

// What a batch queues for many connections leaves at its end at the latest.
func TestBatch(t *testing.T) {
	forms(t, func(t *testing.T, o Options) {
		l := newLoop(t, o)
		var all []*peer
		for range 30 {
			all = append(all, connect(t, l))
		}
		for n := range 10 {
			l.Batch(func() {
				for _, p := range all {
					_ = p.outbox.Push(numbered(n, 100), outbox.Data)
				}
			})
		}
		for _, p := range all {
			if err := readNumbered(bufio.NewReader(p.far), 0, 10); err != nil {
				t.Error(err)
			}
		}
	})
}

// Idle connections of the fast path have no goroutines, and slow senders get none.
func TestGoroutines(t *testing.T) {
	l, err := New(Options{WriteTimeout: time.Second, Linger: time.Second, Mode: Fast})
	if err != nil {
		if runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(l.Close)
	connect(t, l) // starts reading
	connect(t, l)
	before := runtime.NumGoroutine()
	var senders sync.WaitGroup
	var received atomic.Int64
	for range 100 {
		near, far := pair(t)
		p := adopt(l, near, far)
		p.receive = func(b []byte) Verdict { received.Add(int64(len(b))); return Continue }
		p.Read()
		t.Cleanup(func() { p.end(t) })
		senders.Go(func() {
			for range 20 {
				_, _ = far.Write(make([]byte, 10))
				time.Sleep(time.Millisecond)
			}
		})
	}
	senders.Wait()
	waitFor(t, func() bool { return received.Load() == 100*20*10 })
	waitFor(t, func() bool { return runtime.NumGoroutine() <= before }) // senders that are done may still be there
}

func TestModes(t *testing.T) {
	if _, err := New(Options{Mode: "faster"}); err == nil {
		t.Error("New took a mode that does not exist")
	}
	l := newLoop(t, Options{Mode: Portable})
	if l.Form() != "portable" {
		t.Errorf("form %s", l.Form())
	}
	near, far := net.Pipe() // no plain TCP
	auto := newLoop(t, Options{Linger: time.Second, WriteTimeout: time.Second})
	p := adopt(auto, near, far)
	p.Read()
	if s := auto.Stats(); s.Portable != 1 {
		t.Errorf("Stats = %+v", s)
	}
	p.end(t)
}
