package world

import (
	"errors"
	"net"
	"slices"
	"testing"
)

// TestPortBlocks: two worlds never get the same port, also where neither listens yet, and
// what somebody else has is left out.
func TestPortBlocks(t *testing.T) {
	var ours, others portBlocks
	defer func() {
		for _, p := range []*portBlocks{&ours, &others} {
			if err := p.close(); err != nil {
				t.Error(err)
			}
		}
	}()
	next := func(p *portBlocks) string {
		t.Helper()
		addr, err := p.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	var got []string
	for range 2 * blockSize {
		got = append(got, next(&ours), next(&others))
	}
	if len(ours.held) < 3 {
		t.Errorf("%d blocks held", len(ours.held))
	}
	slices.Sort(got)
	if n := len(slices.Compact(slices.Clone(got))); n != len(got) {
		t.Errorf("%d of %d are different", n, len(got))
	}
	for _, addr := range got {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			continue
		}
		_ = ln.Close()
	}
	pc, err := net.ListenPacket("udp", address(ours.left[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	if addr := next(&ours); addr == pc.LocalAddr().String() {
		t.Error("a port that somebody has for UDP")
	}
	first := ours.held[0]
	if err := ours.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a block is not given back: %v", err)
	}
}
