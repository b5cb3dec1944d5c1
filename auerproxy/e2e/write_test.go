package e2e

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// counted counts the writes of a stream.
type counted struct {
	tunnel.Stream
	n      atomic.Int64
	onData bool
}

func (c *counted) OnData() bool { return c.onData }

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Stream.Write(p)
}

// TestOneWritePerFlowWrite: the records of a large write leave in one piece, of up
// to 64 KiB in the tunnel, where others wait behind it, and 256 KiB beside it.
func TestOneWritePerFlowWrite(t *testing.T) {
	t.Parallel()
	t.Run("tunnel", func(t *testing.T) { t.Parallel(); oneWrite(t, false, 1, maxRecord, maxRecord+1, 64<<10) })
	t.Run("data connection", func(t *testing.T) { t.Parallel(); oneWrite(t, true, 1, maxRecord, maxRecord+1, 256<<10) })
	t.Run("tunnel, more", func(t *testing.T) { t.Parallel(); manyWrites(t, 256<<10, 4) })
}

func oneWrite(t *testing.T, onData bool, sizes ...int) {
	t.Helper()
	st, c, s := countedFlow(t, onData)
	for _, size := range sizes {
		want := bytes.Repeat([]byte{byte(size), 9}, size)[:size]
		st.n.Store(0)
		go func() { _, _ = c.Write(want) }()
		got := make([]byte, size)
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes arrive changed: %v", size, err)
		}
		// Small at first, TLS makes more records of a write of one record's size.
		if n := st.n.Load(); n != 1 && size != maxRecord {
			t.Errorf("a write of %d bytes leaves in %d pieces", size, n)
		}
	}
}

func manyWrites(t *testing.T, size int, least int64) {
	t.Helper()
	st, c, s := countedFlow(t, false)
	st.n.Store(0)
	go func() { _, _ = c.Write(make([]byte, size)) }()
	if _, err := io.CopyN(io.Discard, s, int64(size)); err != nil {
		t.Fatal(err)
	}
	if n := st.n.Load(); n < least {
		t.Errorf("a write of %d bytes leaves in %d pieces", size, n)
	}
}

func countedFlow(t *testing.T, onData bool) (st *counted, c net.Conn, s *Flow) {
	t.Helper()
	w := newWorld(t)
	c, s, cerr, serr := w.flows(tls.RequireAndVerifyClientCert, w.pbxCreds, func(near tunnel.Stream) (net.Conn, error) {
		st = &counted{Stream: near, onData: onData}
		return ClientTLS(w.ctx, st, w.callerCreds, pbx)
	})
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	if got := c.(*Flow).OnData(); got != onData {
		t.Errorf("the flow says %t", got)
	}
	return st, c, s
}
