package load

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSegments(t *testing.T) {
	t.Parallel()
	gso := func(size uint16) []byte {
		b := make([]byte, unix.CmsgSpace(2))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], size)
		return b
	}
	ecn := unix.UnixRights(0) // any other message
	for _, tt := range []struct {
		n    int
		oob  []byte
		want uint64
	}{
		{1200, nil, 1},
		{1200, ecn, 1},
		{1200, gso(1200), 1},
		{1201, gso(1200), 2},
		{12_000, append(ecn, gso(1200)...), 10},
		{1200, gso(0), 1},
		{1200, []byte{1, 2, 3}, 1},
	} {
		if got := segments(tt.n, tt.oob); got != tt.want {
			t.Errorf("%d bytes with %v: %d packets, want %d", tt.n, tt.oob, got, tt.want)
		}
	}
}
