//go:build amd64 || arm64

package netloop

import (
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"example.com/chorus/internal/epoll"
)

// shardCount is half of the processors that Go uses: those who send, read and handle messages share the other half. With
// one shard for each, senders find shorter queues, join less, and get in each other's way in the kernel: on two
// processors a flood costs twice as much.
func shardCount() int { return (runtime.GOMAXPROCS(0) + 1) / 2 }

// shards are the fast path, one for each two processors that Go uses.
type shards struct {
	all      []*shard
	next     atomic.Uint32
	stop     chan struct{}
	flushers sync.WaitGroup
	batches  bool // several writes per system call
}

func newShards(l *Loop) (*shards, error) {
	all := &shards{stop: make(chan struct{})}
	for range shardCount() {
		p, err := epoll.New()
		if err != nil {
			all.close()
			return nil, err
		}
		s := &shard{loop: l, poller: p, stop: all.stop, wake: make(chan struct{}, 1), arena: make([]byte, 0, arenaSize),
			tally: newTally(), totals: newLoneTotals()}
		if !l.options.OneByOne {
			s.submit = newBatchSubmitter()
		}
		if all.batches = s.submit != nil; !all.batches {
			s.submit = oneByOne{}
		}
		all.all = append(all.all, s)
		all.flushers.Go(s.run)
	}
	return all, nil
}

func (all *shards) form() string {
	if all.batches {
		return "epoll+io_submit"
	}
	return "epoll"
}

// adopt returns nil for a connection that is not plain TCP, or whose descriptor cannot be had.
func (all *shards) adopt(c net.Conn, r Reader) Conn {
	fd := take(c)
	if fd < 0 {
		return nil
	}
	s := all.all[int(all.next.Add(1))%len(all.all)]
	return &fast{shard: s, reader: r, fd: fd, slot: noSlot}
}

// take copies the descriptor of a plain TCP connection and closes the net.Conn: it would cost more than a kilobyte,
// and data would wake Go's poller too.
func take(c net.Conn) int {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return -1
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	err = raw.Control(func(of uintptr) {
		n, _, e := syscall.Syscall(syscall.SYS_FCNTL, of, syscall.F_DUPFD_CLOEXEC, 0)
		if e == 0 {
			fd = int(n)
		}
	})
	if err != nil || fd < 0 {
		return -1
	}
	limitKernelBuffer(fd)
	_ = c.Close() // of its descriptor; the connection lives on in ours
	return fd
}

const (
	notSentLowat = 25        // TCP_NOTSENT_LOWAT
	maxNotSent   = 128 << 10 // bytes in the kernel that were not sent yet
)

// limitKernelBuffer bounds what a peer that does not read pins in the kernel: without it several megabytes
// for each connection, out of reach of the outbox's limits.
func limitKernelBuffer(fd int) {
	// An old kernel does not know the option, and works without it.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, notSentLowat, maxNotSent)
}

func (all *shards) hangUp() {
	for _, s := range all.all {
		s.mu.Lock()
		open := slices.Clone(s.slots)
		s.mu.Unlock()
		for _, c := range open {
			if c != nil {
				c.Close()
			}
		}
	}
}

func (all *shards) uncorked() {
	for _, s := range all.all {
		s.mu.Lock()
		waits := len(s.dirty) > 0
		s.mu.Unlock()
		if waits {
			signal(s.wake)
		}
	}
}

func (all *shards) stats(t *Stats) {
	for _, s := range all.all {
		s.totals.addTo(t)
		s.mu.Lock()
		t.Fast += int64(len(s.slots) - len(s.free))
		s.mu.Unlock()
	}
}

func (all *shards) close() {
	close(all.stop)
	for _, s := range all.all {
		s.stopReading()
	}
	all.flushers.Wait()
	for _, s := range all.all {
		s.submit.close()
		s.poller.Close()
	}
}

// shard serves a part of the connections.
type shard struct {
	loop   *Loop
	poller *epoll.Set
	stop   chan struct{}
	wake   chan struct{}
	submit submitter

	mu       sync.Mutex
	dirty    []*fast // connections with something to send
	asking   []*fast // connections that want something of the reading goroutine
	slots    []*fast // by what the poller knows them by
	free     []int32
	reading  sync.WaitGroup
	started  bool // the reading goroutine
	stopping bool

	writes, reads watched

	// fds keeps descriptors open during a submission, so that a number that the kernel reuses never gets the
	// bytes of the connection that had it before. It is held over system calls that do not wait.
	fds sync.Mutex

	batch  []write // the rest belongs to run
	frames frames
	arena  []byte // joined frames of a batch
	tally  tally

	_      [64]byte // the totals are written at every flush: not beside another shard's
	totals totals
	_      [64]byte
}

// run is the goroutine that writes.
func (s *shard) run() {
	var list []*fast
	for {
		select {
		case <-s.wake:
			s.writes.answer()
			for list = s.swap(list); len(list) > 0; list = s.swap(list) {
				s.flush(list)
			}
		case <-s.stop:
			return
		}
	}
}

// add puts a connection that is in no list at the end of the list.
func (s *shard) add(c *fast) {
	s.mu.Lock()
	first := len(s.dirty) == 0
	s.dirty = append(s.dirty, c)
	s.mu.Unlock()
	if first && s.loop.corks.Load() == 0 {
		signal(s.wake)
	}
}

// keepDirty is how many connections a list has room for that stays when it is empty.
const keepDirty = 16 << 10

// swap takes the whole list and leaves an empty one, in the memory of a list that was flushed.
func (s *shard) swap(flushed []*fast) []*fast {
	clear(flushed)
	if cap(flushed) > keepDirty && len(flushed) < cap(flushed)/4 {
		flushed = nil // of a burst that is over
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.dirty
	s.dirty = flushed[:0]
	return list
}

// enter gives a connection its slot, and starts the reading goroutine with the first one: where there are no plain
// TCP connections, as in tests on a fake clock, none waits in Go's poller. It returns false for a connection that was
// closed before.
func (s *shard) enter(c *fast) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.entered {
		return false
	}
	c.entered, c.listening = true, true
	if n := len(s.free); n > 0 {
		c.slot = s.free[n-1]
		s.free = s.free[:n-1]
		s.slots[c.slot] = c
	} else {
		c.slot = int32(len(s.slots))
		s.slots = append(s.slots, c)
	}
	if c.wishes != 0 {
		s.asking = append(s.asking, c)
		s.poller.Wake()
	}
	if !s.started {
		s.started = true
		s.reading.Go(s.read)
	}
	return true
}

func (s *shard) exit(c *fast) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots[c.slot] = nil
	s.free = append(s.free, c.slot)
	c.slot = noSlot
}

// ask brings a connection to the attention of the reading goroutine. Nobody listens to one that has ended: the poller
// may be closed by then, and its descriptors be somebody else's. So it is woken under the lock, too.
func (s *shard) ask(c *fast, what wish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.entered && c.slot == noSlot {
		return
	}
	if c.entered && c.wishes == 0 {
		s.asking = append(s.asking, c)
		if len(s.asking) == 1 {
			s.poller.Wake()
		}
	}
	c.wishes |= what
}

func (s *shard) stopReading() {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.poller.Wake()
	s.reading.Wait()
}
