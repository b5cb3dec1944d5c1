package dial

import (
	"net"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// flow is what a [Conn] wraps: a stream of an end-to-end session, one TLS flow,
// or a raw stream.
type flow interface {
	net.Conn
	CloseWrite() error
	Reset(code tunnel.Code)
}

// Conn is one call. Its Read and Write give the errors of tunnel.Stream; it has
// half-close and reset.
type Conn struct {
	flow
	call     Call
	caller   identity.ID
	peer     identity.ID
	incoming bool // accepted by a Listener
	onData   bool
	hops     []*tunnel.Hop
	onClose  func() // nil, or safe to call more than once
}

// Peer is the identity on the other side, verified end to end by its certificate
// except with [Raw] and [OwnTLS], where only the relay vouches for it.
func (c *Conn) Peer() identity.ID { return c.peer }

// Caller is who opened the call: this service, or the device in a connection that
// a [Listener] accepted.
func (c *Conn) Caller() identity.ID { return c.caller }

// Service is the service that the call is to.
func (c *Conn) Service() string { return c.call.Service }

// Purpose is what the caller says that the call is for.
func (c *Conn) Purpose() string { return c.call.Purpose }

// RequestID is 16 bytes that are the same on every hop of the call.
func (c *Conn) RequestID() []byte { return c.call.RequestID }

// Traceparent is the W3C trace context of the call, empty if none.
func (c *Conn) Traceparent() string { return c.call.Traceparent }

// Hops lists what the steps behind the answering side took to open the call,
// nearest first; for a call in a kept session that is the device alone. Nil for an
// accepted call.
func (c *Conn) Hops() []*tunnel.Hop { return c.hops }

// OnData reports whether a [Bulk] call has got its data connection.
func (c *Conn) OnData() bool { return c.onData }

// Close ends the call. What was written is still delivered.
func (c *Conn) Close() error {
	if c.onClose != nil {
		defer c.onClose()
	}
	return c.flow.Close()
}

// Reset gives up both directions at once; the peer's Read and Write fail.
func (c *Conn) Reset(code tunnel.Code) {
	if c.onClose != nil {
		defer c.onClose()
	}
	c.flow.Reset(code)
}

// Addr is the address of an endpoint as the cloud knows it. It holds no network
// address, so that it may be logged.
type Addr struct {
	ID      identity.ID
	Service string // empty on the calling side
}

// Network is "auerproxy".
func (Addr) Network() string { return "auerproxy" }

// String is "<path>" or "<path>/<service>", e.g. "device/0123456789/web".
func (a Addr) String() string {
	if a.Service == "" {
		return a.ID.Path()
	}
	return a.ID.Path() + "/" + a.Service
}

// LocalAddr is an [Addr].
func (c *Conn) LocalAddr() net.Addr {
	if c.incoming {
		return Addr{ID: c.call.Target, Service: c.call.Service}
	}
	return Addr{ID: c.caller}
}

// RemoteAddr is an [Addr].
func (c *Conn) RemoteAddr() net.Addr {
	if c.incoming {
		return Addr{ID: c.caller}
	}
	return Addr{ID: c.peer, Service: c.call.Service}
}
