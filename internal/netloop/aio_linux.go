//go:build amd64 || arm64

package netloop

import (
	"fmt"
	"syscall"
	"unsafe"
)

const (
	iocbPwrite = 1 // IOCB_CMD_PWRITE

	// atOnce bounds how long a garbage collection waits for a submission, of which the scheduler is not told, for the
	// reason that package epoll gives: to about a quarter of a millisecond.
	atOnce = 64
)

// iocb is struct iocb of linux/aio_abi.h on little-endian machines with 64 bits. Unnamed fields stay zero.
type iocb struct {
	data   uint64
	_      uint64 // key, flags of the write
	opcode uint16
	_      int16 // priority
	fd     uint32
	buf    *byte
	n      uint64
	_      [3]uint64 // offset, reserved, flags and descriptor for results
}

// ioEvent is struct io_event.
type ioEvent struct {
	data, obj uint64
	res, res2 int64
}

// aio submits many writes with one system call. On a socket in non-blocking mode the kernel runs each at once,
// so that the results are there when io_submit returns.
type aio struct {
	ctx    uintptr
	blocks [batchSize]iocb
	ptrs   [batchSize]*iocb
	events [batchSize]ioEvent
}

// newBatchSubmitter returns nil where the kernel, or a filter of system calls, does not allow it.
func newBatchSubmitter() submitter {
	a := &aio{}
	if _, _, e := syscall.Syscall(syscall.SYS_IO_SETUP, batchSize, uintptr(unsafe.Pointer(&a.ctx)), 0); e != 0 {
		return nil
	}
	if !a.works() {
		a.close()
		return nil
	}
	return a
}

// works sends one byte through a pair of sockets.
func (a *aio) works() bool {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	probe := []write{{fd: pair[0], b: []byte{1}}}
	return a.try(probe) == nil && probe[0].sent == 1
}

func (a *aio) submit(batch []write) {
	if err := a.try(batch); err != nil {
		panic(err) // nobody knows any more what was sent
	}
}

func (a *aio) try(batch []write) error {
	n := 0
	for i := range batch {
		w := &batch[i]
		if w.fd < 0 {
			continue
		}
		a.blocks[n] = iocb{data: uint64(i), opcode: iocbPwrite, fd: uint32(w.fd), buf: &w.b[0], n: uint64(len(w.b))}
		a.ptrs[n] = &a.blocks[n]
		n++
	}
	submitted := 0
	for at := 0; at < n; {
		got, _, e := syscall.RawSyscall(syscall.SYS_IO_SUBMIT, a.ctx, uintptr(min(n-at, atOnce)), uintptr(unsafe.Pointer(&a.ptrs[at])))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 || got == 0 { // the first of them was refused: it stays unsent
			at++
			continue
		}
		at += int(got)
		submitted += int(got)
	}
	err := a.reap(batch, submitted)
	clear(a.blocks[:n])
	return err
}

// reap waits for the results; they are there already.
func (a *aio) reap(batch []write, submitted int) error {
	for submitted > 0 {
		got, _, e := syscall.RawSyscall6(syscall.SYS_IO_GETEVENTS, a.ctx, uintptr(submitted), batchSize,
			uintptr(unsafe.Pointer(&a.events[0])), 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return fmt.Errorf("netloop: io_getevents: %w", e)
		}
		for _, ev := range a.events[:got] {
			batch[ev.data].sent = int(max(ev.res, 0))
		}
		submitted -= int(got)
	}
	return nil
}

func (a *aio) close() {
	_, _, _ = syscall.Syscall(syscall.SYS_IO_DESTROY, a.ctx, 0, 0)
}
