//go:build !race

package muxtun

import (
	"io"
	"net"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/wire"
)

// sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func TestFramesAllocateNothing(t *testing.T) { //nolint:paralleltest // allocations of all goroutines are counted
	frame := append([]byte{0, muxTypeData, 0, 0, 0, 0, 0, 3, 0, 0, 4, 0}, make([]byte, 1024)...)
	var g guard
	if n := testing.AllocsPerRun(100, func() {
		if err := g.see(frame); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a frame that is looked at allocates %v times", n)
	}
	w := wire.New(sink{})
	if n := testing.AllocsPerRun(100, func() {
		w.Hold()
		_, err := w.Write(frame)
		if ferr := w.Flush(); err != nil || ferr != nil {
			t.Error(io.ErrShortWrite)
		}
	}); n != 0 {
		t.Errorf("a frame that is held allocates %v times", n)
	}
}
