//go:build amd64 || arm64

package netloop

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
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
