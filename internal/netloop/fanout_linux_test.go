package netloop

import (
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

// sink reads and counts what arrives on many sockets with one goroutine and few system calls, so that the
// clients cost little of what is measured.
type sink struct {
	epoll int
	bytes atomic.Int64
}

func (s *sink) run() {
	events := make([]syscall.EpollEvent, 256)
	buf := make([]byte, 64<<10)
	for {
		n, err := syscall.EpollWait(s.epoll, events, -1)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return
		}
		for _, ev := range events[:n] {
			if ev.Pad == 1 { // told to stop
				return
			}
			if m, _ := syscall.Read(int(ev.Fd), buf); m > 0 {
				s.bytes.Add(int64(m))
			}
		}
	}
}

func (s *sink) add(tb testing.TB, c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		err = syscall.EpollCtl(s.epoll, syscall.EPOLL_CTL_ADD, int(fd), &ev)
	}); err != nil {
		tb.Fatal(err)
	}
}

func newSink(tb testing.TB) *sink {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	var stop [2]int
	if err := syscall.Pipe(stop[:]); err != nil {
		tb.Fatal(err)
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(stop[0]), Pad: 1}
	if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, stop[0], &ev); err != nil {
		tb.Fatal(err)
	}
	s := &sink{epoll: epoll}
	done := make(chan struct{})
	go func() { s.run(); close(done) }()
	tb.Cleanup(func() {
		_, _ = syscall.Write(stop[1], []byte{1})
		<-done
		_, _, _ = syscall.Close(stop[0]), syscall.Close(stop[1]), syscall.Close(epoll)
	})
	return s
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFanout sends one frame to 1 000 sockets on loopback and waits until all have it (paced), or sends 20
// in a row (burst). CPU is that of both ends.
func BenchmarkFanout(b *testing.B) {
	for _, form := range []struct {
		name     string
		oneByOne bool
	}{{"batches", false}, {"one-by-one", true}} {
		for _, burst := range []int{1, 20} {
			name := form.name + "/paced"
			if burst > 1 {
				name = form.name + "/burst"
			}
			b.Run(name, func(b *testing.B) { benchmarkFanout(b, form.oneByOne, burst) })
		}
	}
}

func benchmarkFanout(b *testing.B, oneByOne bool, burst int) {
	const peers = 1000
	l := newLoop(b, Options{WriteTimeout: time.Second, Linger: time.Second, OneByOne: oneByOne, Mode: Fast})
	s := newSink(b)
	all := make([]*peer, peers)
	for i := range all {
		all[i] = connect(b, l)
		s.add(b, all[i].far)
	}
	f := frame.Packet(`42["chat message","` + strings.Repeat("x", 100) + `"]`)
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		want := s.bytes.Load() + int64(peers*burst*f.Size())
		for range burst {
			for _, p := range all {
				if err := p.outbox.Push(f, outbox.Data); err != nil {
					b.Fatal(err)
				}
			}
		}
		for s.bytes.Load() < want {
			time.Sleep(50 * time.Microsecond)
		}
	}
	n := float64(b.N * peers * burst)
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/n, "cpu-ns/delivery")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/delivery")
}
