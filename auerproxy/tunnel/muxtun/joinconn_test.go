package muxtun

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// counted counts the writes to a connection, and holds them up or fails them where
// a test wants that.
type counted struct {
	net.Conn
	writes atomic.Int64
	gate   sync.RWMutex // locked while writes have to wait
	fails  atomic.Bool
}

var errBroken = errors.New("broken by the test")

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.fails.Load() {
		return 0, errBroken
	}
	return c.Conn.Write(p)
}

// countedPair gives the ends of a session over TCP, and the connection under the
// client's.
func countedPair(t *testing.T) (client, server tunnel.Session, raw *counted) {
	t.Helper()
	ca := pkitest.New(t, td)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(tcp, Config{TLS: ca.Credentials(identity.Relay(td, "r1")).ServerConfig(nil, tunnel.ALPN)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	raw = new(counted)
	d := Dialer{
		Config: Config{TLS: ca.Credentials(identity.Device(td, "0123456789")).ClientConfig("localhost", nil, tunnel.ALPN)},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			raw.Conn = c
			return raw, err
		},
	}
	if client, err = d.Dial(t.Context(), ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.CloseWithError(tunnel.CodeShutdown, "") })
	if server, err = ln.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.CloseWithError(tunnel.CodeShutdown, "") })
	return client, server, raw
}

func streamPair(t *testing.T, from, to tunnel.Session) (a, b tunnel.Stream) {
	t.Helper()
	a, err := from.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = to.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestOneWritePerFrame: whatever the size of a frame, its header and all its TLS
// records leave in one system call, and no buffer is held afterwards.
func TestOneWritePerFrame(t *testing.T) {
	t.Parallel()
	client, server, raw := countedPair(t)
	a, b := streamPair(t, client, server)
	for _, size := range []int{1, 200, joinMax, joinMax + 1, 16 << 10, 40_000, maxFrame} {
		want := bytes.Repeat([]byte{byte(size), 7}, size)[:size]
		before := raw.writes.Load()
		if _, err := a.Write(want); err != nil {
			t.Fatal(err)
		}
		if n := raw.writes.Load() - before; n != 1 {
			t.Errorf("a frame of %d bytes leaves in %d writes", size, n)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrive changed: %v", size, err)
		}
	}
	w := client.(*session).conn.wire //nolint:forcetypeassert // the dialer's
	if w.Holds() {
		t.Error("an idle connection holds a buffer")
	}
}

// TestOpenEndsWithItsContext: even one whose own frame is the first that the connection
// does not take.
func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	client, _, raw := countedPair(t)
	raw.gate.Lock()
	free := sync.OnceFunc(raw.gate.Unlock)
	defer free()
	late := time.AfterFunc(10*time.Second, free) // Open must not hang the test
	defer late.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open: %v", err)
	}
}

// waitsForCompany makes the next frame wait for others.
func waitsForCompany(c *joinConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patient = patience
}

// TestFramesLeaveTogether: the frames of streams that write while the connection is
// busy leave in one write.
func TestFramesLeaveTogether(t *testing.T) {
	t.Parallel()
	const n = 20
	client, server, raw := countedPair(t)
	var near, far []tunnel.Stream
	for range n {
		a, b := streamPair(t, client, server)
		near, far = append(near, a), append(far, b)
	}
	c := client.(*session).conn //nolint:forcetypeassert // the dialer's
	waitsForCompany(c)
	before := raw.writes.Load()
	raw.gate.Lock()
	want := bytes.Repeat([]byte{42}, 100)
	var firsts sync.WaitGroup
	firsts.Go(func() { // stays in the write
		if _, err := near[0].Write(want); err != nil {
			t.Error(err)
		}
	})
	for raw.writes.Load() == before {
		runtime.Gosched()
	}
	for _, st := range near[1:] {
		firsts.Go(func() {
			if _, err := st.Write(want); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < n-1; runtime.Gosched() {
		c.mu.Lock()
		waiting = c.count
		c.mu.Unlock()
	}
	raw.gate.Unlock()
	firsts.Wait()
	for _, st := range far {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(st, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the bytes arrive changed: %v", err)
		}
	}
	if got := raw.writes.Load() - before; got != 2 {
		t.Errorf("%d frames left in %d writes, want 2", n, got)
	}
}

// TestPlannedWriteFails: the session ends when a write fails that no stream waits
// for.
func TestPlannedWriteFails(t *testing.T) {
	t.Parallel()
	client, server, raw := countedPair(t)
	a, _ := streamPair(t, client, server)
	c := client.(*session).conn //nolint:forcetypeassert // the dialer's
	waitsForCompany(c)
	raw.fails.Store(true)
	// Where another frame is the first that fails, the session has ended before.
	if _, err := a.Write([]byte("lost")); err != nil && tunnel.CodeOf(err) != tunnel.CodeSessionLost {
		t.Errorf("the write itself fails: %v", err)
	}
	<-client.Done()
	if err := client.Err(); tunnel.CodeOf(err) != tunnel.CodeSessionLost {
		t.Errorf("the session ended with %v", err)
	}
}

// TestLonelyFramesWaitForNobody: after some frames that no other one joined, the
// next are sent at once, and now and then one waits again.
func TestLonelyFramesWaitForNobody(t *testing.T) {
	t.Parallel()
	client, server, _ := countedPair(t)
	a, b := streamPair(t, client, server)
	c := client.(*session).conn //nolint:forcetypeassert // the dialer's
	waited := 0
	c.start = func(f func()) bool { waited++; f(); return true }
	waitsForCompany(c)
	buf := make([]byte, 1)
	const more = 2 * curious
	for range patience + more {
		if _, err := a.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(b, buf); err != nil {
			t.Fatal(err)
		}
	}
	if want := patience + more/curious; waited != want {
		t.Errorf("%d frames waited, want %d", waited, want)
	}
}
