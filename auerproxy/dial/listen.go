package dial

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Listener takes the calls of devices (and of other services) to one service
// name. It is a net.Listener whose connections are [*Conn]s; calls that arrive at
// about the same time come in any order.
type Listener struct {
	dialer  *Dialer
	service string
	places  chan struct{} // one per call that waits for Accept
	calls   chan *Conn    // as many
	closed  chan struct{}
	close   sync.Once
}

// Listen starts to take calls to service/<own name>, service name as given. The
// relay's policy says who may call; the caller's certificate is checked here, end
// to end. It fails when the dialer is closed or the name is taken.
func (d *Dialer) Listen(service string) (*Listener, error) {
	ln := &Listener{
		dialer: d, service: service,
		places: make(chan struct{}, d.cfg.Limits.Backlog),
		calls:  make(chan *Conn, d.cfg.Limits.Backlog),
		closed: make(chan struct{}),
	}
	d.mu.Lock()
	_, taken := d.listeners[service]
	if !taken && !d.closed {
		d.listeners[service] = ln
	}
	d.mu.Unlock()
	if taken {
		return nil, tunnel.Errorf(tunnel.CodeProtocol, "there is a listener for %q already", service)
	}
	if err := d.start(); err != nil {
		return nil, err
	}
	return ln, nil
}

// Accept waits for the next call; net.ErrClosed after Close.
func (ln *Listener) Accept() (net.Conn, error) {
	select {
	case <-ln.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-ln.calls:
		<-ln.places
		return c, nil
	case <-ln.closed:
		return nil, net.ErrClosed
	}
}

// Close stops taking calls and resets those that nobody has accepted; accepted
// ones live on.
func (ln *Listener) Close() error {
	ln.close.Do(func() {
		d := ln.dialer
		d.mu.Lock()
		if d.listeners[ln.service] == ln {
			delete(d.listeners, ln.service)
		}
		d.mu.Unlock()
		close(ln.closed)
		ln.flush()
	})
	return nil
}

// flush resets the calls that wait.
func (ln *Listener) flush() {
	for {
		select {
		case c := <-ln.calls:
			<-ln.places
			c.Reset(tunnel.CodeShutdown)
		default:
			return
		}
	}
}

// Addr is an [Addr].
func (ln *Listener) Addr() net.Addr { return Addr{ID: ln.dialer.self, Service: ln.service} }

// listener finds the listener for a call to this service.
func (d *Dialer) listener(target, service string) (*Listener, error) {
	if target != d.self.Path() {
		return nil, &tunnel.Error{Code: tunnel.CodeNotReachable}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ln := d.listeners[service]; ln != nil {
		return ln, nil
	}
	return nil, tunnel.Errorf(tunnel.CodeServiceUnknown, "%s takes no calls to %q", d.self.Path(), service)
}

// reserve takes a place in the backlog, or says why there is none.
func (ln *Listener) reserve() error {
	select {
	case <-ln.closed:
		return tunnel.Errorf(tunnel.CodeServiceUnknown, "the listener was closed")
	case ln.places <- struct{}{}:
		return nil
	default:
		return tunnel.Errorf(tunnel.CodeTooManyStreams, "%d calls wait already", cap(ln.places))
	}
}

// deliver hands c, which has a place, to Accept, and waits until the call is over
// or ctx, the life of its session, ends.
func (ln *Listener) deliver(ctx context.Context, c *Conn) {
	over := make(chan struct{})
	c.onClose = sync.OnceFunc(func() { close(over) })
	ln.calls <- c // has room: places has as many
	select {
	case <-ln.closed: // Close may have missed this one
		ln.flush()
	default:
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// handle answers one stream that the relay opened towards this service.
func (u *uplink) handle(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
	d := u.dialer
	ln, err := d.listener(p.GetTarget(), p.GetService())
	if err == nil {
		err = u.serve(ctx, ln, st, p)
	}
	if err != nil {
		d.log.Debug("call refused", "caller", p.GetCaller(), "service", p.GetService(), "error", err)
		tunnel.Refuse(st, err)
	}
}

// serve runs what the preamble says is inside the stream. An error means that the
// stream was not yet answered.
func (u *uplink) serve(ctx context.Context, ln *Listener, st tunnel.Stream, p *tunnel.Preamble) error {
	d := u.dialer
	// The relay's word on who calls. The certificate must say the same, or the call
	// did not come from where policy and records say it came from.
	claimed, err := identity.ParsePath(d.self.TrustDomain, p.GetCaller())
	if err != nil {
		return tunnel.Errorf(tunnel.CodeProtocol, "preamble.caller: %w", err)
	}
	hctx, cancel := context.WithTimeout(ctx, d.cfg.Limits.HandshakeTimeout)
	defer cancel()
	switch p.GetInner() {
	case tunnelpb.Inner_INNER_MUX:
		if err := tunnel.WriteAck(st); err != nil {
			st.Reset(tunnel.CodeTunnelGone)
			return nil
		}
		s, err := e2e.Server(hctx, st, d.cfg.Credentials, identity.Exactly(claimed), d.cfg.Limits.IncomingCalls)
		if err != nil {
			d.log.Debug("end-to-end handshake failed", "caller", p.GetCaller(), "error", err)
			return nil
		}
		_ = e2e.Serve(ctx, s, e2e.ServeConfig{
			MaxStreams: d.cfg.Limits.IncomingCalls,
			Handle: func(ctx context.Context, st tunnel.Stream, call *tunnel.Preamble) {
				u.serveCall(ctx, s.Peer(), p.GetService(), st, call)
			},
		}) // its error is the end of the caller's session
		return nil
	case tunnelpb.Inner_INNER_TLS:
		if err := ln.reserve(); err != nil {
			return err
		}
		var f *e2e.Flow
		if err = tunnel.WriteAck(st); err == nil {
			f, err = e2e.ServerTLS(hctx, st, d.cfg.Credentials, tls.RequireAndVerifyClientCert, identity.Exactly(claimed))
		}
		if err != nil {
			<-ln.places
			st.Reset(tunnel.CodeOf(err))
			d.log.Debug("end-to-end handshake failed", "caller", p.GetCaller(), "error", err)
			return nil
		}
		ln.deliver(ctx, accepted(d, f.Peer(), f, p))
		return nil
	default:
		return tunnel.Errorf(tunnel.CodeRefusedByDevice, "a service takes end-to-end TLS only")
	}
}

// serveCall answers one call in a caller's end-to-end session. The session was
// opened for one service, which is all that the relay has authorised.
func (u *uplink) serveCall(ctx context.Context, peer identity.ID, service string, st tunnel.Stream, p *tunnel.Preamble) {
	d := u.dialer
	ln, err := d.listener(p.GetTarget(), p.GetService())
	switch {
	case p.GetService() != service:
		err = tunnel.Errorf(tunnel.CodePolicyDenied, "the session is for %q", service)
	case p.GetInner() != tunnelpb.Inner_INNER_PLAIN:
		err = tunnel.Errorf(tunnel.CodeProtocol, "a call within a session is plain")
	case err == nil:
		err = ln.reserve()
	}
	if err != nil {
		tunnel.Refuse(st, err)
		return
	}
	if err := tunnel.WriteAck(st); err != nil {
		<-ln.places
		st.Reset(tunnel.CodeTunnelGone)
		return
	}
	ln.deliver(ctx, accepted(d, peer, st, p))
}

// accepted is the service's side of a call.
func accepted(d *Dialer, peer identity.ID, f flow, p *tunnel.Preamble) *Conn {
	return &Conn{
		flow: f, caller: peer, peer: peer, incoming: true,
		call: Call{
			Target: d.self, Service: p.GetService(), Purpose: p.GetPurpose(),
			RequestID: p.GetRequestId(), Traceparent: p.GetTraceparent(),
		},
	}
}
