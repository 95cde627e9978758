//go:build linux

package epoll

import (
	"errors"
	"syscall"
	"testing"
)

func TestSet(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	if err := s.Control(syscall.EPOLL_CTL_ADD, pipe[0], 7, syscall.EPOLLIN); err != nil {
		t.Fatal(err)
	}

	rounds := make(chan []int32)
	goOn := make(chan bool)
	go func() {
		defer close(rounds)
		events := make([]syscall.EpollEvent, 8)
		for {
			var numbers []int32
			for _, e := range events[:s.Wait(events)] {
				numbers = append(numbers, e.Fd)
			}
			rounds <- numbers
			if !<-goOn {
				return
			}
		}
	}()
	next := func(want int32) {
		t.Helper()
		if got := <-rounds; len(got) != 1 || got[0] != want {
			t.Fatalf("events of %v, want one of %d", got, want)
		}
	}

	s.Wake()
	s.Wake()
	next(Woken)
	s.Calm()
	if n, err := write(pipe[1], []byte("abc")); n != 3 || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	goOn <- true
	next(7)
	buf := make([]byte, 8)
	if n, err := read(pipe[0], buf); string(buf[:n]) != "abc" || err != nil {
		t.Fatalf("read: %q, %v", buf[:n], err)
	}
	if n, err := read(pipe[0], buf); n != 0 || !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("read of nothing: %d, %v", n, err)
	}
	s.Wake()
	goOn <- true
	next(Woken)
	goOn <- false
	<-rounds
	s.Close()
}

func TestErrors(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Control(syscall.EPOLL_CTL_MOD, -1, 0, 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("control of nothing: %v", err)
	}
	if n, err := Send(-1, []byte("a")); n != 0 || !errors.Is(err, syscall.EBADF) {
		t.Errorf("send to nothing: %d, %v", n, err)
	}
	if n, err := Receive(-1, nil); n != 0 || !errors.Is(err, syscall.EBADF) {
		t.Errorf("receive from nothing: %d, %v", n, err)
	}
}
