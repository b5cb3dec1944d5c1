package link

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds the wait for something that happens at once.
const patience = 20 * time.Second

// ends are two UDP sockets that know one another.
type ends struct {
	t    *testing.T
	l    *Link
	a, b net.PacketConn
}

func pair(t *testing.T, cfg Config) *ends {
	t.Helper()
	l := Pair(t, cfg)
	e := &ends{t: t, l: l}
	for n, pc := range map[*Namespace]*net.PacketConn{l.A: &e.a, l.B: &e.b} {
		var err error
		if *pc, err = n.ListenPacket(t.Context(), "udp4", n.Addr().String()+":0"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = (*pc).Close() })
		if err := (*pc).SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (e *ends) send(from, to net.PacketConn, number, size int) error {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, uint32(number)) //nolint:gosec // small
	_, err := from.WriteTo(b, to.LocalAddr())
	return err
}

func (e *ends) mustSend(from, to net.PacketConn, number, size int) {
	e.t.Helper()
	if err := e.send(from, to, number, size); err != nil {
		e.t.Fatal(err)
	}
}

func (e *ends) receive(pc net.PacketConn) (number int, from net.Addr) {
	e.t.Helper()
	b := make([]byte, 2000)
	_, from, err := pc.ReadFrom(b)
	if err != nil {
		e.t.Fatal(err)
	}
	return int(binary.BigEndian.Uint32(b)), from
}

// eventually polls for a state that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestRoundTripTakesTwoDelays(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Millisecond
	e := pair(t, Config{Delay: delay, Jitter: time.Millisecond})
	for i := range 5 {
		begin := time.Now()
		e.mustSend(e.a, e.b, i, 100)
		if n, _ := e.receive(e.b); n != i || time.Since(begin) < delay {
			t.Errorf("number %d, want %d, arrives after %s", n, i, time.Since(begin))
		}
		e.mustSend(e.b, e.a, i, 100)
		if n, _ := e.receive(e.a); n != i || time.Since(begin) < 2*delay {
			t.Errorf("number %d, want %d, comes back after %s", n, i, time.Since(begin))
		}
	}
	if c := e.l.Counters(Both); c.Passed < 10 || c.Lost+c.QueueFull+c.TooBig+c.Cut+c.Overrun+c.Refused > 0 {
		t.Errorf("%+v", c)
	}
}

func TestOneWayCut(t *testing.T) {
	t.Parallel()
	for _, d := range []Direction{AToB, BToA} {
		e := pair(t, Config{})
		near, far := e.a, e.b // near is cut off from far
		if d == BToA {
			near, far = e.b, e.a
		}
		cut := func(on bool) {
			if err := e.l.Change(d, func(c *Config) { c.Cut = on }); err != nil {
				t.Fatal(err)
			}
		}
		cut(true)
		e.mustSend(near, far, 1, 100)
		eventually(t, "the packet is counted", func() bool { return e.l.Counters(d).Cut > 0 })
		e.mustSend(far, near, 2, 100)
		if n, _ := e.receive(near); n != 2 {
			t.Errorf("the other direction brings number %d, want 2", n)
		}
		if c := e.l.Counters(Both &^ d).Cut; c != 0 {
			t.Errorf("%d packets are cut in the other direction", c)
		}
		// Order is kept, so the first that arrives now shows that none came before.
		cut(false)
		e.mustSend(near, far, 3, 100)
		if n, _ := e.receive(far); n != 3 {
			t.Errorf("number %d arrives after the cut, want 3", n)
		}
	}
}

func TestLossOfEverythingInOneDirection(t *testing.T) {
	t.Parallel()
	e := pair(t, Config{})
	if err := e.l.Set(AToB, Config{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		e.mustSend(e.a, e.b, i, 100)
	}
	eventually(t, "the packets are counted", func() bool { return e.l.Counters(AToB).Lost >= 10 })
	e.mustSend(e.b, e.a, 11, 100)
	if n, _ := e.receive(e.a); n != 11 || e.l.Counters(AToB).Passed != 0 {
		t.Errorf("number %d, %+v", n, e.l.Counters(AToB))
	}
}

func TestBlackHole(t *testing.T) {
	t.Parallel()
	e := pair(t, Config{MTU: 1280, BlackHole: true})
	const headers = 28
	e.mustSend(e.a, e.b, 1, 1281-headers)
	e.mustSend(e.a, e.b, 2, 1280-headers)
	if n, _ := e.receive(e.b); n != 2 || e.l.Counters(AToB).TooBig != 1 {
		t.Errorf("number %d arrives, want 2, %+v", n, e.l.Counters(AToB))
	}
	// Nobody tells the sender, who may try as often as it likes.
	e.mustSend(e.a, e.b, 3, 1281-headers)
}

// A sender that lets nothing be fragmented learns the MTU of the path; TCP does, and
// gets through.
func TestSmallMTUIsTold(t *testing.T) {
	t.Parallel()
	e := pair(t, Config{MTU: 1280})
	raw, err := e.a.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	if err := errors.Join(err, set); err != nil {
		t.Fatal(err)
	}
	e.mustSend(e.a, e.b, 1, 1400)
	eventually(t, "the sender is told", func() bool { return errors.Is(e.send(e.a, e.b, 2, 1400), unix.EMSGSIZE) })

	ln, err := e.l.A.Listen(t.Context(), "tcp", e.l.A.Addr().String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	const size = 1 << 20
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write(make([]byte, size))
		_ = c.Close()
	}()
	c, err := e.l.B.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("%d bytes arrive: %v", n, err)
	}
}

func TestReorderingOnTheWire(t *testing.T) {
	t.Parallel()
	order := func(share float64) (numbers []int, c Counters) {
		e := pair(t, Config{Delay: time.Millisecond, Reorder: share, ReorderBy: 100 * time.Millisecond})
		for i := range 100 {
			e.mustSend(e.a, e.b, i, 100)
		}
		for range 100 {
			n, _ := e.receive(e.b)
			numbers = append(numbers, n)
		}
		return numbers, e.l.Counters(AToB)
	}
	if numbers, c := order(0.5); slices.IsSorted(numbers) || c.Reordered == 0 {
		t.Errorf("the order at 50 %% is %v, %+v", numbers, c)
	}
	if numbers, c := order(0); !slices.IsSorted(numbers) || c.Reordered != 0 {
		t.Errorf("the order at 0 is %v, %+v", numbers, c)
	}
}

func TestSetAddr(t *testing.T) {
	t.Parallel()
	e := pair(t, Config{})
	pc, err := e.l.B.ListenPacket(t.Context(), "udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	for _, addr := range []string{"10.77.0.2", "10.77.0.7", "10.77.0.8", "10.77.0.2"} {
		a := netip.MustParseAddr(addr)
		if a != e.l.B.Addr() {
			if err := e.l.B.SetAddr(a); err != nil {
				t.Fatal(err)
			}
		}
		e.mustSend(pc, e.a, 1, 100)
		if _, from := e.receive(e.a); from.(*net.UDPAddr).AddrPort().Addr() != a {
			t.Errorf("the sender is %s, want %s", from, a)
		}
	}
}

// Namespaces see nothing of one another, of the machine, or of other links.
func TestProcessesAndIsolation(t *testing.T) {
	t.Parallel()
	l := Pair(t, Config{})
	devices := func(run func(*exec.Cmd) error) string {
		cmd := exec.CommandContext(t.Context(), "cat", "/proc/self/net/dev")
		var out strings.Builder
		cmd.Stdout = &out
		if err := errors.Join(run(cmd), cmd.Wait()); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := devices(l.A.Start); !strings.Contains(got, deviceName) {
		t.Errorf("a process in A sees\n%s", got)
	}
	if got := devices((*exec.Cmd).Start); strings.Contains(got, deviceName) {
		t.Errorf("a process outside sees\n%s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ln, err := l.A.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if c, err := l.A.DialContext(ctx, "tcp", ln.Addr().String()); err != nil {
		t.Errorf("A does not reach its own loopback: %v", err)
	} else {
		_ = c.Close()
	}
	if c, err := l.B.DialContext(ctx, "tcp", ln.Addr().String()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("B reaches A's loopback: %v, %v", c, err)
	}
	if _, err := l.A.DialContext(ctx, "tcp", "localhost:1"); err == nil || errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a name is looked up: %v", err)
	}
	inner := errors.New("f")
	err = l.A.Do(func() error { return l.B.Do(func() error { return inner }) })
	if !errors.Is(err, inner) {
		t.Errorf("nested Do gives %v", err)
	}
}

func TestSetCongestion(t *testing.T) {
	t.Parallel()
	available, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	l := Pair(t, Config{})
	ln, err := l.A.Listen(t.Context(), "tcp", l.A.Addr().String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	used := func(c net.Conn) (name string) {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got error
		err = raw.Control(func(fd uintptr) {
			name, got = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		})
		if err := errors.Join(err, got); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for want := range strings.FieldsSeq(string(available)) {
		if err := l.SetCongestion(want); err != nil {
			t.Fatal(err)
		}
		b, err := l.B.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		a, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if used(a) != want || used(b) != want {
			t.Errorf("the ends use %s and %s, want %s", used(a), used(b), want)
		}
		_, _ = a.Close(), b.Close()
	}
	if l.SetCongestion("none such") == nil {
		t.Error("an unknown congestion control is taken")
	}
}

// inodes names the namespace of each thread of this process, or of its open files.
func inodes(t *testing.T, pattern string) (all []string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if to, err := os.Readlink(p); err == nil { // threads and files come and go
			all = append(all, to)
		}
	}
	return all
}

// Not parallel: it looks at the threads and descriptors of the whole process.
func TestNothingIsLeft(t *testing.T) { //nolint:paralleltest // see above
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	foreign := func() (all []string) {
		for _, to := range inodes(t, "/proc/self/task/*/ns/net") {
			if to != own {
				all = append(all, "thread in "+to)
			}
		}
		for _, to := range inodes(t, "/proc/self/fd/*") {
			if strings.HasPrefix(to, "net:[") || strings.HasSuffix(to, "/net/tun") {
				all = append(all, "open "+to)
			}
		}
		return all
	}
	t.Run("run", func(t *testing.T) { //nolint:paralleltest // see above
		e := pair(t, Config{Delay: time.Hour})
		e.mustSend(e.a, e.b, 1, 100) // is under way for ever
		if got := foreign(); len(got) != 4 {
			t.Errorf("a link has %v, want two namespaces and two devices", got)
		}
		// The positive control for threads.
		err := e.l.A.Do(func() error {
			if got := foreign(); len(got) < 5 {
				t.Errorf("within Do there is %v, want a thread too", got)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	l, err := New(Config{})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Run(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("Run after Close gives %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrEnded) {
		t.Errorf("the second Close gives %v", err)
	}
	if got := foreign(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if _, err := New(Config{Loss: 2}); err == nil {
		t.Error("a loss of 2 is taken")
	}
}
