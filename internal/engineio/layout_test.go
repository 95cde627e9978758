package engineio

import (
	"testing"
	"unsafe"
)

// Go aligns an object to the largest power of two that divides the size class of its type: the outbox of every second
// Session would else lie in two lines of the cache.
func TestLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the layout is for 64 bits")
	}
	if n := unsafe.Sizeof(Session{}); n%64 != 0 {
		t.Errorf("a Session has %d bytes, want a multiple of 64", n)
	}
	if n := unsafe.Offsetof(Session{}.outbox); n != 0 {
		t.Errorf("the outbox of a Session begins at byte %d, want 0", n)
	}
}
