// Package socket reads and writes TCP connections without the Go scheduler's
// watch over system calls.
//
// Before each system call the scheduler is told that the thread may be away for long. A
// thread of its own then looks every 20 us whether one is, takes its processor, and gives
// that to another thread, which has to be woken, and put to sleep again. For a socket
// that never blocks, all of that is for nothing: a call takes as long as copying its bytes
// does. On 2 processors a relay spent a quarter of its time on it (BenchmarkEcho, and the
// README's table of tunnels).
//
// So a read or write here keeps its processor, for [MaxCall] bytes at most. Waiting is
// left to the runtime's poller as ever, with deadlines and Close. It is done on Linux; on
// other systems, and with the race detector, which learns from the usual calls what
// happens before what, the connection is used as it is.
package socket

import (
	"net"
	"syscall"
)

// MaxCall is how many bytes a system call moves at most: some 50 us of copying, in which
// nothing else runs on that processor, nor stops for the garbage collector.
const MaxCall = 256 << 10

// TCP is a TCP connection.
type TCP struct {
	net.Conn // conn, for what is not said below
	conn     *net.TCPConn
	calls
}

// New gives c with other ways to read and write. c itself may be used too.
func New(c *net.TCPConn) *TCP { return &TCP{Conn: c, conn: c, calls: newCalls(c)} }

// CloseWrite ends the sending direction.
func (t *TCP) CloseWrite() error { return t.conn.CloseWrite() }

// SetLinger is that of net.TCPConn.
func (t *TCP) SetLinger(sec int) error { return t.conn.SetLinger(sec) }

// SyscallConn implements syscall.Conn.
func (t *TCP) SyscallConn() (syscall.RawConn, error) { return t.conn.SyscallConn() }

// Wrap is [New] for what may be a TCP connection, and conn itself if it is none.
func Wrap(conn net.Conn) net.Conn {
	if c, ok := conn.(*net.TCPConn); ok {
		return New(c)
	}
	return conn
}
