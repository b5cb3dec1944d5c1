package socket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// calls gives access to the descriptor; nil where the connection is closed already.
type calls struct{ raw syscall.RawConn }

func newCalls(c *net.TCPConn) calls {
	raw, err := c.SyscallConn()
	if err != nil {
		return calls{}
	}
	return calls{raw}
}

// call is one Read or Write under way.
type call struct {
	p     []byte
	n     int // bytes moved
	errno syscall.Errno

	// The methods, bound once.
	read, write func(fd uintptr) bool
}

var pool = sync.Pool{New: func() any {
	c := new(call)
	c.read, c.write = c.readOnce, c.writeAll
	return c
}}

// done gives what came of the call, and the call back to the pool. werr is that of waiting.
func (c *call) done(op string, werr error) (int, error) {
	n, errno := c.n, c.errno
	c.p, c.n, c.errno = nil, 0, 0
	pool.Put(c)
	switch {
	case werr != nil:
		return n, named(op, werr)
	case errno != 0:
		// Without the addresses that package net adds: errors go to logs.
		return n, &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, errno)}
	default:
		return n, nil
	}
}

// named gives an error of a raw connection the name that the usual call has, in place of
// "raw-read".
func named(op string, err error) error {
	if oe, ok := err.(*net.OpError); ok { //nolint:errorlint // net gives it bare
		oe.Op = op
	}
	return err
}

// readOnce reads what there is. It is false where there is nothing yet.
func (c *call) readOnce(fd uintptr) bool {
	for {
		n, errno := read(fd, c.p[:min(len(c.p), MaxCall)])
		switch errno {
		case 0:
			c.n = n
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.errno = errno
			return true
		}
	}
}

// writeAll writes what is left. It is false where there is no room for more.
func (c *call) writeAll(fd uintptr) bool {
	for c.n < len(c.p) {
		n, errno := write(fd, c.p[c.n:min(len(c.p), c.n+MaxCall)])
		switch errno {
		case 0:
			c.n += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.errno = errno
			return true
		}
	}
	return true
}

// Read implements net.Conn.
func (t *TCP) Read(p []byte) (int, error) {
	if t.raw == nil || len(p) == 0 {
		return t.conn.Read(p)
	}
	c := pool.Get().(*call) //nolint:forcetypeassert // the pool holds nothing else
	c.p = p
	n, err := c.done("read", t.raw.Read(c.read))
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (t *TCP) Write(p []byte) (int, error) {
	if t.raw == nil || len(p) == 0 {
		return t.conn.Write(p)
	}
	c := pool.Get().(*call) //nolint:forcetypeassert // the pool holds nothing else
	c.p = p
	return c.done("write", t.raw.Write(c.write))
}
