//go:build linux

package epoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// connected returns both ends of a connection over TCP, the first of them as Conn makes it.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	plain, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if near = Conn(plain); near == plain {
		t.Fatal("a connection over TCP stays as it is")
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func TestConn(t *testing.T) {
	near, far := connected(t)
	sent := bytes.Repeat([]byte("0123456789"), 1<<20) // more than the kernel takes at once
	got := make(chan []byte)
	go func() {
		b := make([]byte, len(sent))
		_, _ = io.ReadFull(far, b)
		got <- b
	}()
	if n, err := near.Write(sent); n != len(sent) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	if !bytes.Equal(<-got, sent) {
		t.Fatal("something else arrived")
	}
	go func() { _, _ = far.Write(sent); far.Close() }()
	if b, err := io.ReadAll(near); err != nil || !bytes.Equal(b, sent) {
		t.Fatalf("read %d bytes, %v", len(b), err)
	}
	if n, err := near.Read(nil); n != 0 || err != nil {
		t.Errorf("read of nothing: %d, %v", n, err)
	}
}

func TestConnDeadlines(t *testing.T) {
	near, _ := connected(t)
	past := time.Now().Add(-time.Second)
	if err := near.SetDeadline(past); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read: %v", err)
	}
	if _, err := near.Write([]byte("a")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
	if err := near.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { _, err := near.Read(make([]byte, 1)); ended <- err }()
	near.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed connection: %v", err)
	}
	if _, err := near.Write([]byte("a")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write to a closed connection: %v", err)
	}
}

// A pipe has no descriptor.
func TestConnOfOthers(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	if Conn(a) != a {
		t.Error("a pipe became something else")
	}
}
