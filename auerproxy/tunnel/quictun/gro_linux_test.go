package quictun

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// joined makes a groConn that has read such messages; size 0 is one datagram.
func joined(msgs ...struct {
	data  []byte
	size  int
	flags int
},
) *groConn {
	c := &groConn{msgs: newMessages(len(msgs), groMessage)}
	for i, m := range msgs {
		to := &c.msgs[i]
		to.N, to.Flags, to.Addr = copy(to.Buffers[0], m.data), m.flags, &net.UDPAddr{Port: i + 1}
		if m.size > 0 {
			// As the kernel writes it; the layout is that of a control message to send.
			oob := segmentControl(0)
			binary.NativeEndian.PutUint32(oob[cmsgLevelAt+4:], unix.UDP_GRO)
			binary.NativeEndian.PutUint32(oob[unix.CmsgLen(0):], uint32(m.size))
			oob[0] = byte(unix.CmsgLen(4))
			to.NN = copy(to.OOB, oob)
		}
	}
	c.have = len(msgs)
	return c
}

func TestSplit(t *testing.T) {
	t.Parallel()
	type msg = struct {
		data  []byte
		size  int
		flags int
	}
	data := func(n int) []byte { return bytes.Repeat([]byte("0123456789"), n/10+1)[:n] }
	for name, tt := range map[string]struct {
		msgs []msg
		want []int // lengths of datagrams
	}{
		"single":          {[]msg{{data(900), 0, 0}}, []int{900}},
		"empty":           {[]msg{{nil, 0, 0}}, []int{0}},
		"even":            {[]msg{{data(2400), 1200, 0}}, []int{1200, 1200}},
		"short last":      {[]msg{{data(2401), 1200, 0}}, []int{1200, 1200, 1}},
		"largest":         {[]msg{{data(groMessage), 1440, 0}}, nil},
		"several":         {[]msg{{data(100), 0, 0}, {data(250), 100, 0}, {data(7), 0, 0}}, []int{100, 100, 100, 50, 7}},
		"size beyond end": {[]msg{{data(100), 1200, 0}}, []int{100}},
		"cut":             {[]msg{{data(100), 0, unix.MSG_TRUNC}, {data(7), 0, 0}}, []int{7}},
		"only cut":        {[]msg{{data(2400), 1200, unix.MSG_TRUNC}}, []int{}},
	} {
		for _, width := range []int{1, 3, 8} {
			t.Run(fmt.Sprint(name, " into ", width), func(t *testing.T) {
				t.Parallel()
				c := joined(tt.msgs...)
				var got [][]int // lengths and ports
				var bodies []byte
				for {
					ms := newMessages(width, 1452)
					n := c.split(ms)
					if n == 0 {
						break
					}
					for _, m := range ms[:n] {
						got = append(got, []int{m.N, m.Addr.(*net.UDPAddr).Port})
						bodies = append(bodies, m.Buffers[0][:m.N]...)
					}
				}
				var want []byte
				for _, m := range tt.msgs {
					if m.flags == 0 {
						want = append(want, m.data...)
					}
				}
				if !bytes.Equal(bodies, want) {
					t.Errorf("%d bytes, want %d", len(bodies), len(want))
				}
				if tt.want == nil {
					return
				}
				if len(got) != len(tt.want) {
					t.Fatalf("datagrams %v, want lengths %v", got, tt.want)
				}
				for i, n := range tt.want {
					if got[i][0] != n {
						t.Errorf("datagrams %v, want lengths %v", got, tt.want)
					}
				}
			})
		}
	}
}

// TestReceiveOffload sends through the kernel: what was sent at once comes joined
// to a socket with GRO, and taken apart to its reader.
func TestReceiveOffload(t *testing.T) {
	t.Parallel()
	if !groWorks() {
		t.Skip("this kernel joins no datagrams over loopback")
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	c, ok := receiveOffload(udp, 2).(*groConn)
	if !ok {
		t.Fatal("no receive offload")
	}
	const size, count = 1000, 30
	want := make([]byte, size*count)
	for i := range want {
		want[i] = byte(i / size)
	}
	if _, _, err := udp.WriteMsgUDP(want, segmentControl(size), udp.LocalAddr().(*net.UDPAddr)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for len(got) < len(want) {
		ms := newMessages(8, 1452)
		n, err := c.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			if m.N != size || m.Addr.String() != udp.LocalAddr().String() {
				t.Fatalf("a datagram of %d bytes from %s", m.N, m.Addr)
			}
			got = append(got, m.Buffers[0][:m.N]...)
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("the datagrams differ from those sent")
	}

	// The positive control of the self-test: without GRO it says no.
	plain, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = plain.Close()
	if testGRO(plain) {
		t.Error("the self-test passes on a closed socket")
	}
	// A socket that is no UDP socket of the system stays as it is.
	other := struct{ net.PacketConn }{udp}
	if receiveOffload(other, 1) != net.PacketConn(other) {
		t.Error("a foreign socket was wrapped")
	}
}

func TestSplitAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations of all goroutines are counted
	c := joined(struct {
		data  []byte
		size  int
		flags int
	}{make([]byte, 10_000), 1200, 0})
	ms := newMessages(8, 1452)
	if n := testing.AllocsPerRun(100, func() {
		c.next, c.at = 0, 0
		if c.split(ms) != 8 || c.split(ms) != 1 {
			t.Error("10,000 bytes are not 9 datagrams")
		}
	}); n != 0 {
		t.Errorf("a joined message allocates %v times", n)
	}
}
