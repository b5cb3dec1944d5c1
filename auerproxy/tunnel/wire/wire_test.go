package wire_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/wire"
)

// TestOverflow: more than the buffer takes is sent on the way, in order.
func TestOverflow(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	w := wire.New(near)
	var want []byte
	for i := range 5 {
		want = append(want, bytes.Repeat([]byte{byte(i)}, wire.Buffer/2)...)
	}
	want = append(want, make([]byte, wire.Buffer+1)...)
	errs := make(chan error, 1)
	go func() {
		defer func() { _ = near.Close() }()
		w.Hold()
		w.Hold() // only once
		for i := range 5 {
			if _, err := w.Write(want[i*(wire.Buffer/2):][:wire.Buffer/2]); err != nil {
				errs <- err
				return
			}
		}
		if _, err := w.Write(want[5*(wire.Buffer/2):]); err != nil {
			errs <- err
			return
		}
		errs <- w.Flush()
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, want the %d written", len(got), err, len(want))
	}
	if err := <-errs; err != nil {
		t.Error(err)
	}
	if err := w.Flush(); err != nil {
		t.Errorf("flush with nothing held: %v", err)
	}
	if w.Holds() {
		t.Error("a buffer is held after a flush")
	}
	// A write that fails is told by whatever sends.
	w.Hold()
	if !w.Holds() {
		t.Error("no buffer is held after Hold")
	}
	_, _ = w.Write([]byte("lost"))
	if err := w.Flush(); err == nil {
		t.Error("a flush to a closed connection succeeds")
	}
}

// TestPeek: the first byte is looked at, and read nevertheless.
func TestPeek(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	go func() {
		_, _ = far.Write([]byte("hello"))
		_ = far.Close()
	}()
	w := wire.New(near)
	if b, err := w.Peek(); b != 'h' || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if got, err := io.ReadAll(w); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := w.Peek(); err == nil {
		t.Error("a byte after the end")
	}
}
