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
	n atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Stream.Write(p)
}

// TestOneWritePerFlowWrite: the records of a large write leave in one piece.
func TestOneWritePerFlowWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var st *counted
	c, s, cerr, serr := w.flows(tls.RequireAndVerifyClientCert, w.pbxCreds, func(near tunnel.Stream) (net.Conn, error) {
		st = &counted{Stream: near}
		return ClientTLS(w.ctx, st, w.callerCreds, pbx)
	})
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	for _, size := range []int{1, maxRecord, maxRecord + 1, 64 << 10} {
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
	_, _ = c.Close(), s.Close()
}
