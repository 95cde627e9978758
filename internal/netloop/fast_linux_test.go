//go:build amd64 || arm64

package netloop

import (
	"bufio"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"example.com/chorus/internal/outbox"
)

// fastPeer is a connection of the fast path that was not read yet, by both of its names.
func fastPeer(t *testing.T) (*Loop, *peer, *fast) {
	t.Helper()
	l := newLoop(t, Options{WriteTimeout: 10 * time.Second, Linger: time.Second, Mode: Fast})
	near, far := pair(t)
	p := adopt(l, near, far)
	return l, p, p.Conn.(*fast)
}

// A child process may hold a copy of a descriptor between fork and exec. What happens to it after the connection was
// closed is nobody's concern.
func TestCopiedDescriptor(t *testing.T) {
	l, p, c := fastPeer(t)
	p.Read()
	copied, err := syscall.Dup(c.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	p.Close()
	<-p.ended
	if _, err := p.far.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	_ = p.far.Close()
	for range 3 * len(l.shards.all) { // the reading goroutine has looked at everything that the poller had to say
		near, far := pair(t)
		start(l, near, far).end(t)
	}
}

// What is asked of a connection that ended reaches nobody: the loop may be gone, and its descriptors others'.
func TestCloseAfterTheLoop(t *testing.T) {
	l, err := New(Options{Mode: Fast})
	if err != nil {
		t.Fatal(err)
	}
	near, far := pair(t)
	p := adopt(l, near, far)
	p.Read()
	p.end(t)
	var pipe [2]int // while the loop has its numbers
	if err := syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	before := descriptors(t)
	l.Close()
	after := descriptors(t)
	for fd := range before {
		if after[fd] {
			continue
		}
		if err := syscall.Dup3(pipe[1], fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
	}
	p.Close()
	p.Resume()
	p.Part(nil)
	if n, _ := syscall.Read(pipe[0], make([]byte, 10)); n > 0 {
		t.Errorf("%d bytes were written to somebody else's descriptor", n)
	}
}

// descriptors returns those that the process has.
func descriptors(t *testing.T) map[int]bool {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := make(map[int]bool)
	for _, name := range names {
		fd, err := strconv.Atoi(name.Name())
		if err != nil {
			t.Fatal(err)
		}
		open[fd] = true
	}
	return open
}

// reluctant is a kernel that takes half of the first writes, and nothing of each second one; while it does, more is queued.
type reluctant struct {
	submitter
	rounds int
	push   func()
}

func (r *reluctant) submit(batch []write) {
	if r.rounds--; r.rounds < 0 {
		r.submitter.submit(batch)
		return
	}
	r.push()
	if r.rounds%2 == 0 {
		return
	}
	whole := make([][]byte, len(batch))
	for i := range batch {
		whole[i] = batch[i].b
		batch[i].b = batch[i].b[:(len(batch[i].b)+1)/2]
	}
	r.submitter.submit(batch)
	for i := range batch {
		batch[i].b = whole[i]
	}
}

// What is queued while a write is under way that the kernel takes in part, or not at all, comes once and in order.
func TestPushWhileWriting(t *testing.T) {
	for rounds := range 12 {
		l, p, _ := fastPeer(t)
		n := 0
		push := func() {
			f := numbered(n, 10+n*100)
			n++
			if err := p.outbox.Push(f, outbox.Data); err != nil {
				t.Error(err)
			}
		}
		for _, s := range l.shards.all { // nothing is written before the first push
			s.submit = &reluctant{submitter: s.submit, rounds: rounds, push: push}
		}
		t.Cleanup(func() { p.end(t) })
		p.Start(&p.outbox, nil)
		p.Read()
		push()
		if err := readNumbered(bufio.NewReader(p.far), 0, 1+rounds); err != nil {
			t.Errorf("%d reluctant writes: %v", rounds, err)
		}
		waitFor(t, func() bool { return p.outbox.Push(numbered(0, 10), outbox.Volatile) == nil })
	}
}

func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(fast{}); n%64 != 0 {
		t.Errorf("a connection has %d bytes, want a multiple of 64, so that what every write needs is in one line of the cache", n)
	}
}
