package redisadapter

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestLateReadTakesWhatArrivedInTime(t *testing.T) {
	here, there := pair(t)
	conn := &mortal{Conn: here, keep: func() bool { return true }}
	if _, err := there.Write([]byte("news")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 16)
	for _, want := range []string{"news", ""} {
		if err := conn.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buffer)
		if got := string(buffer[:n]); got != want {
			t.Errorf("Read() behind the deadline = %q, %v, want %q", got, err, want)
		}
		if silent := want == ""; errors.Is(err, os.ErrDeadlineExceeded) != silent {
			t.Errorf("Read() behind the deadline: %v, exceeded only when there is nothing", err)
		}
	}
}

// pair returns both ends of a TCP connection, which end with the test.
func pair(t *testing.T) (here, there net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	return here, there
}
