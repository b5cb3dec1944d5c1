package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	ok := Target{Name: "switch", Service: grant.SSH, Address: "192.168.1.2:22", HostKeys: []string{"ssh-ed25519 AAAA"}}
	with := func(f func(*Target)) Target { c := ok; f(&c); return c }
	for name, tt := range map[string]struct {
		list []Target
		want string // empty: none
	}{
		"good":          {[]Target{ok}, ""},
		"none":          {nil, ""},
		"both services": {[]Target{ok, with(func(t *Target) { t.Service = grant.TCP })}, ""},
		"name":          {[]Target{with(func(t *Target) { t.Name = "Switch" })}, "name"},
		"own name":      {[]Target{with(func(t *Target) { t.Name = OwnWeb })}, "name"},
		"twice":         {[]Target{ok, ok}, "name"},
		"service":       {[]Target{with(func(t *Target) { t.Service = grant.Web })}, "service"},
		"no port":       {[]Target{with(func(t *Target) { t.Address = "switch" })}, "address"},
		"port 0":        {[]Target{with(func(t *Target) { t.Address = "switch:0" })}, "address"},
		"port name":     {[]Target{with(func(t *Target) { t.Address = "switch:ssh" })}, "address"},
		"no host":       {[]Target{with(func(t *Target) { t.Address = ":22" })}, "address"},
		"loopback":      {[]Target{with(func(t *Target) { t.Address = "127.0.0.1:22" })}, "address"},
		"IPv6":          {[]Target{with(func(t *Target) { t.Address = "[2a00::1]:22" })}, ""},
		"mapped":        {[]Target{with(func(t *Target) { t.Address = "[::ffff:127.0.0.1]:22" })}, "address"},
		"zone":          {[]Target{with(func(t *Target) { t.Address = "[fe80::1%eth0]:22" })}, "address"},
		"keys":          {[]Target{with(func(t *Target) { t.HostKeys = []string{""} })}, "host_keys"},
		"many":          {make([]Target, MaxTargets+1), "are 64"},
	} {
		err := Dialer{}.Check(tt.list)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckAddr(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"192.168.1.2": true, "10.0.0.1": true, "172.16.5.5": true, "100.64.0.1": true, "8.8.8.8": true, "fd12::1": true, "2a00:1450::1": true,
		"127.0.0.1": false, "127.255.255.254": false, "::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "::": false, "169.254.169.254": false, "::ffff:169.254.169.254": false,
		"fe80::1": false, "fe80::1%eth0": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"168.63.129.16": false, "100.100.100.200": false, "192.0.0.192": false, "fd00:ec2::254": false, "fd20:ce::254": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001:0:1::1": false, "::ffff:0:127.0.0.1": false,
	} {
		if err := CheckAddr(netip.MustParseAddr(text)); (err == nil) != ok || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if CheckAddr(netip.Addr{}) == nil {
		t.Error("no address is one")
	}
}

// TestOwn: what the operator lists of this machine can be a target, by that address only.
func TestOwn(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	at := netip.MustParseAddrPort(ln.Addr().String())
	one := Target{Name: "shell", Service: grant.SSH, Address: at.String()}
	if err := (Dialer{}).Check([]Target{one}); err == nil {
		t.Error("loopback is a target though nobody lists it")
	}
	d := Dialer{Own: []netip.AddrPort{at}}
	if err := d.Check([]Target{one}); err != nil {
		t.Error(err)
	}
	c, err := d.Dial(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	port := strconv.Itoa(int(at.Port()))
	for _, address := range []string{"localhost:" + port, "127.0.0.2:" + port, "[::ffff:127.0.0.1]:" + port, "127.0.0.1:1"} {
		other := one
		other.Address = address
		if c, err := d.Dial(t.Context(), other); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", address, err)
			if err == nil {
				c.Close()
			}
		}
	}
}

// rebinding is a name server of which each look-up of one name gets another answer.
func rebinding(t *testing.T, answers ...netip.Addr) (*net.Resolver, *atomic.Int64) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				a := answers[min(int(asked.Add(1)), len(answers))-1]
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: a.As4()},
				}}
			}
			if text, err := m.Pack(); err == nil {
				_, _ = pc.WriteTo(text, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}, &asked
}

// TestRebinding: a name that means another address from one look-up to the next is judged
// by the address that is dialled, and looked up once for that.
func TestRebinding(t *testing.T) {
	t.Parallel()
	public, local, metadata := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254")
	for _, answers := range [][]netip.Addr{{local, public}, {metadata, public}} {
		resolver, asked := rebinding(t, answers...)
		d := Dialer{Resolver: resolver}
		if _, err := d.Dial(t.Context(), Target{Address: "printer.example.com:9100"}); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", answers[0], err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%s: the name was looked up %d times for one connection", answers[0], n)
		}
	}
	// First a good answer: that one is dialled, and no second look-up brings the other.
	resolver, asked := rebinding(t, public, local)
	ctx, cancel := context.WithCancel(t.Context())
	d := Dialer{Resolver: resolver}
	done := make(chan error, 1)
	go func() {
		_, err := d.Dial(ctx, Target{Address: "printer.example.com:9100"})
		done <- err
	}()
	for asked.Load() == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; errors.Is(err, ErrAddress) || err == nil {
		t.Errorf("a good address is judged as a bad one: %v", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("looked up %d times", n)
	}
}

// TestDialRefuses: what a name stands for is looked at when the connection is made.
func TestDialRefuses(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	reached := make(chan int)
	go func() {
		n := 0
		for {
			c, err := ln.Accept()
			if err != nil {
				reached <- n
				return
			}
			n++
			c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"} {
		c, err := Dialer{}.Dial(t.Context(), Target{Address: net.JoinHostPort(host, port)})
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", host, err)
		}
	}
	// The listener is there, for whoever does not look.
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Read(make([]byte, 1)) // until it is closed
	c.Close()
	ln.Close()
	if n := <-reached; n != 1 {
		t.Errorf("reached %d times, want once", n)
	}
}

func TestNotOwn(t *testing.T) {
	t.Parallel()
	if err := notOwn(netip.MustParseAddr("127.0.0.1")); !errors.Is(err, ErrAddress) {
		t.Errorf("the machine has another loopback address: %v", err)
	}
	if err := notOwn(netip.MustParseAddr("192.0.2.77")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Dialer{}).Dial(ctx, Target{Address: "192.168.1.2:22"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
