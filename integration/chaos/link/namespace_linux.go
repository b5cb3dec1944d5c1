package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Names and sizes of what is in a namespace.
const (
	deviceName = "link0"
	subnetBits = 24
	// txQueue is how many packets wait for the link to read them; the default of
	// 500 is one burst of one fast sender.
	txQueue = 4096
)

// Namespace is one end of a link: a network namespace of its own, which has no
// name and is gone when the link ends and nothing in it is used any more.
type Namespace struct {
	handle netns.NsHandle
	dev    *tun

	mu   sync.Mutex
	addr netip.Addr // guarded by mu
}

// newNamespace makes a namespace whose device has addr.
func newNamespace(addr netip.Addr) (n *Namespace, err error) {
	n = &Namespace{handle: netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
			n = nil
		}
	}()
	err = onThread(func() error {
		n.handle, err = netns.New() // the thread is in it now
		return unavailable(err)
	})
	if err != nil {
		return n, fmt.Errorf("link: new namespace: %w", err)
	}
	err = n.Do(func() error {
		n.dev, err = openTUN(deviceName)
		return unavailable(err)
	})
	if err != nil {
		return n, fmt.Errorf("link: TUN device: %w", err)
	}
	err = n.netlink(func(h *netlink.Handle, dev netlink.Link) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(h.LinkSetUp(lo), h.LinkSetMTU(dev, deviceMTU), h.LinkSetTxQLen(dev, txQueue), h.LinkSetUp(dev))
	})
	if err != nil {
		return n, err
	}
	return n, n.SetAddr(addr)
}

// Do runs f in the namespace, on a thread of its own: sockets that f opens and
// processes that it starts belong to the namespace for good, goroutines that it
// starts do not. f must not open sockets by host names, which are looked up by
// other goroutines. Do may be called from several goroutines, and in one another.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("link: enter namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f, which may move the thread to another namespace, and moves the
// thread back.
func onThread(f func() error) error {
	runtime.LockOSThread()
	origin, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("link: own namespace: %w", err)
	}
	defer func() {
		if err := errors.Join(netns.Set(origin), origin.Close()); err != nil {
			// The goroutine would go on in a namespace that it does not expect.
			panic(fmt.Errorf("link: return from namespace: %w", err))
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// netlink runs f with a socket to the kernel's side of the namespace.
func (n *Namespace) netlink(f func(h *netlink.Handle, dev netlink.Link) error) error {
	h, err := netlink.NewHandleAt(n.handle)
	if err != nil {
		return fmt.Errorf("link: netlink: %w", err)
	}
	defer h.Close()
	dev, err := h.LinkByName(deviceName)
	if err != nil {
		return fmt.Errorf("link: %s: %w", deviceName, err)
	}
	if err := f(h, dev); err != nil {
		return fmt.Errorf("link: set up %s: %w", deviceName, err)
	}
	return nil
}

// Addr is the address of the namespace's device.
func (n *Namespace) Addr() netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

// SetAddr gives the device another address, of 10.77.0.0/24, in place of its own:
// what a NAT with a new public address, or a new lease, does to those behind it.
// Sockets that are bound to the old address go on sending from it and get nothing
// back; others use the new one from now on.
func (n *Namespace) SetAddr(a netip.Addr) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.netlink(func(h *netlink.Handle, dev netlink.Link) error {
		if err := h.AddrAdd(dev, ipNet(a)); err != nil {
			return err
		}
		if !n.addr.IsValid() {
			return nil
		}
		if err := h.AddrDel(dev, ipNet(n.addr)); err != nil {
			return err
		}
		// The kernel removes the other addresses of a subnet with its first one,
		// unless promote_secondaries is set.
		return h.AddrReplace(dev, ipNet(a))
	})
	if err == nil {
		n.addr = a
	}
	return err
}

func ipNet(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(subnetBits, 32)}}
}

// overrun is how many packets the kernel could not hand over.
func (n *Namespace) overrun() (dropped uint64, err error) {
	err = n.netlink(func(_ *netlink.Handle, dev netlink.Link) error {
		if s := dev.Attrs().Statistics; s != nil {
			dropped = s.TxDropped
		}
		return nil
	})
	return dropped, err
}

// Listen listens on an address of the namespace.
func (n *Namespace) Listen(ctx context.Context, network, addr string) (ln net.Listener, err error) {
	err = n.Do(func() error {
		var lc net.ListenConfig
		ln, err = lc.Listen(ctx, network, addr)
		return err
	})
	return ln, err
}

// ListenPacket opens a UDP socket on an address of the namespace.
func (n *Namespace) ListenPacket(ctx context.Context, network, addr string) (pc net.PacketConn, err error) {
	err = n.Do(func() error {
		var lc net.ListenConfig
		pc, err = lc.ListenPacket(ctx, network, addr)
		return err
	})
	return pc, err
}

// DialContext dials from the namespace, to an IP address and port.
func (n *Namespace) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return nil, fmt.Errorf("link: %w", err) // a name would be looked up outside
	}
	err = n.Do(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Start starts a process in the namespace; the rest is the caller's, Wait included.
func (n *Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// setCongestion does it for the route over the link. The namespace's own default
// takes only what the machine allows to everybody, often without cubic.
func (n *Namespace) setCongestion(algorithm string) error {
	return n.netlink(func(h *netlink.Handle, dev netlink.Link) error {
		routes, err := h.RouteList(dev, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, r := range routes {
			r.Congctl = algorithm
			if err := h.RouteReplace(&r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *Namespace) close() error {
	var errs []error
	if n.dev != nil {
		errs = append(errs, n.dev.Close())
	}
	if n.handle.IsOpen() {
		errs = append(errs, n.handle.Close())
	}
	return errors.Join(errs...)
}
