package splice

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Poller waits for many sockets in one goroutine (epoll(7)). Without it each takes one of
// 2.5 KiB.
type Poller struct {
	file *os.File
	raw  syscall.RawConn
	work sync.WaitGroup

	mu      sync.Mutex
	last    uint64            // guarded by mu
	waiting map[uint64]func() // guarded by mu; by the number that epoll has
	closed  bool              // guarded by mu
}

// NewPoller starts a poller, which must be closed. On other systems than Linux it is
// nil, which [Options] take too.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("splice: epoll: %w", err)
	}
	// The runtime waits for the epoll's own file, so that no thread has to.
	err = unix.SetNonblock(fd, true)
	p := &Poller{file: os.NewFile(uintptr(fd), "epoll"), waiting: make(map[uint64]func())} //nolint:gosec // a file descriptor
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("splice: epoll: %w", err), p.file.Close())
	}
	p.work.Go(p.run)
	return p, nil
}

// Close stops the poller. All splices that have it must have ended.
func (p *Poller) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.file.Close()
	p.work.Wait()
	return err
}

func (p *Poller) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0) //nolint:gosec // a file descriptor
			return n != 0 && !errors.Is(err, unix.EINTR)
		})
		if err != nil {
			return // closed
		}
		for _, e := range events[:max(n, 0)] {
			if f := p.take(numberOf(e)); f != nil {
				go f()
			}
		}
	}
}

// add gives a wait its number, 0 after Close.
func (p *Poller) add(f func()) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0
	}
	p.last++
	p.waiting[p.last] = f
	return p.last
}

// take gives up a wait; nil where it is over.
func (p *Poller) take(number uint64) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.waiting[number]
	delete(p.waiting, number)
	return f
}

// wait has f called once, in a goroutine of its own, when a read of the socket would
// not wait; or when cancel is called, which must happen before the socket is closed or
// soon after. It reports false, and f is never called, where it cannot wait.
func (p *Poller) wait(c syscall.Conn, f func()) (cancel func(), ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, false
	}
	number := p.add(f)
	if number == 0 {
		return nil, false
	}
	var ctl error
	err = raw.Control(func(fd uintptr) {
		// One shot: a socket that is not read from would be reported again and again.
		e := eventOf(number, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLONESHOT)
		ctl = p.control(int(fd), &e) //nolint:gosec // a file descriptor
	})
	if err != nil || ctl != nil {
		return nil, p.take(number) == nil
	}
	return func() {
		if f := p.take(number); f != nil {
			go f()
		}
	}, true
}

func (p *Poller) control(fd int, e *unix.EpollEvent) (err error) {
	outer := p.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, e) //nolint:gosec // a file descriptor
		if errors.Is(err, unix.EEXIST) {                           // it has waited before
			err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, fd, e) //nolint:gosec // likewise
		}
	})
	return errors.Join(outer, err)
}

// epoll keeps 64 bits with each file, which package unix calls Fd and Pad.
func eventOf(number uint64, events uint32) unix.EpollEvent {
	return unix.EpollEvent{Events: events, Fd: int32(uint32(number)), Pad: int32(number >> 32)} //nolint:gosec // bits
}

func numberOf(e unix.EpollEvent) uint64 {
	return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32 //nolint:gosec // bits
}
