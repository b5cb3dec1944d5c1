package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Entry is a TCP address of the relay that leads to one service of one device.
// Every connection to it becomes a raw stream, whatever it speaks: a plain TCP
// client needs nothing else, and the relay can read what the client does not
// encrypt itself.
//
// The entry is the permission, the policy is not asked: it is written by whoever
// writes the policy, and its callers have no identity that a rule could name. To
// the device the caller is the relay itself, relay/<id>, and the device has the
// last word: its service needs `raw: true` and no `allow` list.
//
// A connection that cannot be opened is reset at once and counted by the error's
// name in auerproxy_entry_connections_total.
type Entry struct {
	// Listen is "host:port"; port 0 takes a free one, see [Status].
	Listen string `yaml:"listen"`
	// Target is device/<serial>.
	Target string `yaml:"target"`
	// Service is the name of the service on the device.
	Service string `yaml:"service"`
	// AllowRemote permits an address that is not loopback. Who reaches the address
	// reaches the service: set it only behind a firewall.
	AllowRemote bool `yaml:"allow_remote"`
}

// validateEntries gives every problem with the key that has it.
func validateEntries(entries []Entry) configs.Errors {
	var errs configs.Errors
	seen := make(map[string]int)
	for i, e := range entries {
		bad := func(key, hint, format string, args ...any) {
			errs = append(errs, &configs.KeyError{
				Key: fmt.Sprintf("entries[%d].%s", i, key), Problem: fmt.Sprintf(format, args...), Hint: hint,
			})
		}
		host, port, err := net.SplitHostPort(e.Listen)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		first, twice := seen[e.Listen]
		switch {
		case err != nil:
			bad("listen", "", "%q, want host:port", e.Listen)
		case !e.AllowRemote && !configs.IsLoopback(host):
			bad("listen", "an entry asks nobody who he is; use 127.0.0.1, or set allow_remote behind a firewall",
				"%q is not a loopback address", e.Listen)
		case twice && port != "0":
			bad("listen", "", "%q is that of entries[%d] already", e.Listen, first)
		}
		if !twice {
			seen[e.Listen] = i
		}
		if id, err := identity.ParsePath(identity.DefaultTrustDomain, e.Target); err != nil || id.Kind != identity.KindDevice {
			bad("target", "", "%q, want device/<serial>", e.Target)
		}
		// A service of a device follows the grammar of a service's identity.
		if err := identity.Service(identity.DefaultTrustDomain, e.Service).Validate(); err != nil {
			bad("service", "", "%v", err)
		}
	}
	return errs
}

// entry is a configured [Entry] that listens.
type entry struct {
	relay   *Relay
	target  identity.ID
	service string
	ln      *net.TCPListener
}

// listenEntries opens every entry, or none.
func (r *Relay) listenEntries(ctx context.Context) ([]*entry, error) {
	var entries []*entry
	for i, e := range r.cfg.Entries {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // on by default; costs each accept, serves no client of an entry
		if host, _, err := net.SplitHostPort(e.Listen); err == nil && configs.IsLoopback(host) {
			lc.KeepAlive = -1 // a peer on this machine does not vanish without a word
		}
		key := "target"
		target, err := identity.ParsePath(r.self.TrustDomain, e.Target)
		var ln net.Listener
		if err == nil {
			key = "listen"
			ln, err = lc.Listen(ctx, "tcp", e.Listen)
		}
		if err != nil {
			for _, open := range entries {
				_ = open.ln.Close()
			}
			return nil, fmt.Errorf("relay: entries[%d].%s: %w", i, key, err)
		}
		entries = append(entries, &entry{relay: r, target: target, service: e.Service, ln: ln.(*net.TCPListener)})
	}
	return entries, nil
}

// acceptPause is the wait after an accept that failed, e.g. for want of file
// descriptors.
const acceptPause = 50 * time.Millisecond

// run serves the entry's connections until ctx ends. Those that are open then end
// with the session of their device.
func (e *entry) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = e.ln.Close() })
	defer stop()
	for {
		conn, err := e.ln.AcceptTCP()
		switch {
		case err == nil:
			e.relay.work.Go(func() {
				stack.Grow()
				e.serve(ctx, entryConn{socket.New(conn)})
			})
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("relay: entry %s: %w", e.ln.Addr(), err)
		default:
			e.relay.metrics.drops.WithLabelValues("entry_accept").Inc()
			e.relay.log.Warn("accept failed", "entry", e.ln.Addr(), "error", err)
			t := time.NewTimer(acceptPause)
			select {
			case <-t.C:
			case <-ctx.Done():
			}
			t.Stop()
		}
	}
}

// serve takes one connection from accept to end. Nothing is read from it before
// the device's open-ack.
func (e *entry) serve(ctx context.Context, conn entryConn) {
	r := e.relay
	j, err := r.openTo(ctx, r.self, e.target, &tunnel.Preamble{
		Target: e.target.Path(), Service: e.service, Purpose: "entry", RequestId: tunnel.NewID(), Inner: tunnelpb.Inner_INNER_RAW,
	}, time.Now())
	code := tunnel.CodeOf(err)
	r.metrics.entries.WithLabelValues(label(code)).Inc()
	r.noteResult(conn.RemoteAddr(), err)
	if err != nil {
		conn.Reset(code)
		return
	}
	j.start(conn, func() {})
}

// entryConn is what splice needs of a TCP caller.
type entryConn struct{ *socket.TCP }

// Reset sends RST: a flow that was cut must not look complete.
func (c entryConn) Reset(tunnel.Code) {
	_ = c.SetLinger(0) // fails on a connection that is closed already
	_ = c.Close()
}
