package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
)

// pair gives two ends of a TCP connection, not wrapped.
func pair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	a, err = net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ln.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = a.Close(), b.Close(), ln.Close() })
	return a, b
}

// TestSocketBytes sends more than the kernel holds, both ways at once, so that both wait.
func TestSocketBytes(t *testing.T) {
	a, b := pair(t)
	sent := make([]byte, 16<<20+3)
	for i := range sent {
		sent[i] = byte(i / 251)
	}
	var all sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		all.Go(func() {
			if n, err := socket.New(way[0]).Write(sent); n != len(sent) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			_ = way[0].CloseWrite()
		})
		all.Go(func() {
			got, err := io.ReadAll(socket.New(way[1]))
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
}

// TestSocketErrors wants those of the connection itself, but for its addresses.
func TestSocketErrors(t *testing.T) {
	past := time.Unix(1, 0)
	for name, test := range map[string]struct {
		prepare func(near, far *net.TCPConn)
		do      func(c net.Conn) (int, error)
		want    error
	}{
		"end":                {func(_, far *net.TCPConn) { _ = far.Close() }, read, io.EOF},
		"read deadline":      {func(near, _ *net.TCPConn) { _ = near.SetDeadline(past) }, read, os.ErrDeadlineExceeded},
		"write deadline":     {func(near, _ *net.TCPConn) { _ = near.SetDeadline(past) }, write, os.ErrDeadlineExceeded},
		"read when closed":   {func(near, _ *net.TCPConn) { _ = near.Close() }, read, net.ErrClosed},
		"write when closed":  {func(near, _ *net.TCPConn) { _ = near.Close() }, write, net.ErrClosed},
		"nothing to read":    {func(_, far *net.TCPConn) { _ = far.Close() }, func(c net.Conn) (int, error) { return c.Read(nil) }, nil},
		"nothing to write":   {func(*net.TCPConn, *net.TCPConn) {}, func(c net.Conn) (int, error) { return c.Write(nil) }, nil},
		"reset":              {reset, func(c net.Conn) (int, error) { _, _ = read(c); return read(c) }, io.EOF},
		"write after it":     {reset, func(c net.Conn) (int, error) { _, _ = read(c); return write(c) }, syscall.EPIPE},
		"reset while it was": {reset, read, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			results := make([]string, 0, 2)
			for _, wrap := range []func(*net.TCPConn) net.Conn{
				func(c *net.TCPConn) net.Conn { return c },
				func(c *net.TCPConn) net.Conn { return socket.New(c) },
			} {
				near, far := pair(t)
				conn := wrap(near)
				test.prepare(near, far)
				n, err := test.do(conn)
				if n != 0 || !errors.Is(err, test.want) {
					t.Errorf("%T: %d, %v; want %v", conn, n, err, test.want)
				}
				op := ""
				if oe, ok := errors.AsType[*net.OpError](err); ok {
					op = oe.Op + " " + oe.Net + " " + oe.Err.Error()
				}
				results = append(results, op)
			}
			if results[0] != results[1] {
				t.Errorf("the connection says %q, socket %q", results[0], results[1])
			}
		})
	}
}

func read(c net.Conn) (int, error)  { return c.Read(make([]byte, 8)) }
func write(c net.Conn) (int, error) { return c.Write(make([]byte, 8)) }

// reset ends the connection with a reset, which has arrived when it returns: loopback
// delivers at once.
func reset(_, far *net.TCPConn) {
	_ = far.SetLinger(0)
	_ = far.Close()
}

// TestSocketClose ends calls that wait.
func TestSocketClose(t *testing.T) {
	near, _ := pair(t)
	c := socket.New(near)
	errs := make(chan error, 2)
	begun := make(chan struct{}, 2)
	go func() {
		begun <- struct{}{}
		_, err := read(c)
		errs <- err
	}()
	go func() {
		begun <- struct{}{}
		_, err := c.Write(make([]byte, 64<<20)) // more than the kernel holds
		errs <- err
	}()
	<-begun
	<-begun
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a call that waited: %v", err)
		}
	}
}

// TestWrap leaves alone what is no TCP connection.
func TestWrap(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if socket.Wrap(a) != a {
		t.Error("a pipe was wrapped")
	}
	near, _ := pair(t)
	if _, ok := socket.Wrap(near).(*socket.TCP); !ok {
		t.Error("a TCP connection was not")
	}
}

// BenchmarkEcho is a request of 200 bytes and its answer, and a bulk of 64 KiB writes,
// through the connection itself and through package socket.
func BenchmarkEcho(b *testing.B) {
	for name, wrap := range map[string]func(*net.TCPConn) net.Conn{
		"net":    func(c *net.TCPConn) net.Conn { return c },
		"socket": func(c *net.TCPConn) net.Conn { return socket.New(c) },
	} {
		b.Run("request/"+name, func(b *testing.B) {
			near, far := pair(b)
			go func() { _, _ = io.Copy(struct{ io.Writer }{wrap(far)}, struct{ io.Reader }{wrap(far)}) }()
			conn, p := wrap(near), make([]byte, 200)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, p); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("bulk/"+name, func(b *testing.B) {
			near, far := pair(b)
			go func() {
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{wrap(far)}, make([]byte, 64<<10))
			}()
			conn, p := wrap(near), make([]byte, 64<<10)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
