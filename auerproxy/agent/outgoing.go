package agent

import (
	"context"
	"net"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// DialOptions say more about an outgoing call. The zero value is usual.
type DialOptions struct {
	// Purpose is what the call is for, for the other side's policy and records.
	Purpose string
	// RequestID is 16 bytes; nil makes one.
	RequestID []byte
	// Traceparent is that of W3C Trace Context §3.2.
	Traceparent string
}

// Dial opens a call from the device to a service of the data centre, through a
// relay: service names the server program ("ccc" or "service/ccc"), name what it
// offers (e.g. "pairing"). The connection is end-to-end TLS to exactly that
// service, inside a session that is kept for the next call. It has CloseWrite.
//
// The error is a *tunnel.Error; tunnel.Retryable says whether the call can have
// reached the service. Without a tunnel it is AUER-1208 at once.
func (a *Agent) Dial(ctx context.Context, service, name string) (net.Conn, error) {
	return a.DialWith(ctx, service, name, DialOptions{})
}

// DialWith is [Agent.Dial] with options.
func (a *Agent) DialWith(ctx context.Context, service, name string, o DialOptions) (net.Conn, error) {
	target := identity.Service(a.self.TrustDomain, strings.TrimPrefix(service, "service/"))
	if err := target.Validate(); err != nil {
		return nil, tunnel.Errorf(tunnel.CodeProtocol, "dial %q: %w", service, err)
	}
	st, _, err := a.pool.Open(ctx, e2e.Key{Target: target, Service: name}, &tunnel.Preamble{
		Purpose: o.Purpose, RequestId: o.RequestID, Traceparent: o.Traceparent,
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}

// DialRaw opens a stream to a service that the relay dials itself (relay.services),
// e.g. the PKI, if the relay's policy lets the device. Nothing of ours runs in it:
// what the caller speaks has to encrypt and to authenticate by itself. The connection
// has CloseWrite.
func (a *Agent) DialRaw(ctx context.Context, service string) (net.Conn, error) {
	l := a.link()
	if l == nil {
		return nil, tunnel.Errorf(tunnel.CodeUnreachable, "the device has no tunnel at the moment")
	}
	target := identity.Service(a.self.TrustDomain, service)
	if err := target.Validate(); err != nil {
		return nil, tunnel.Errorf(tunnel.CodeProtocol, "dial %q: %w", service, err)
	}
	st, _, err := tunnel.Open(ctx, l.session, &tunnel.Preamble{
		Target: target.Path(), Service: service, Caller: a.self.Path(), Purpose: "raw",
		RequestId: tunnel.NewID(), Inner: tunnelpb.Inner_INNER_RAW,
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}

// dialService makes the end-to-end session that Dial's calls run in.
func (a *Agent) dialService(ctx context.Context, key e2e.Key) (*e2e.Session, error) {
	l := a.link()
	if l == nil {
		return nil, tunnel.Errorf(tunnel.CodeUnreachable, "the device has no tunnel at the moment")
	}
	st, _, err := tunnel.Open(ctx, l.session, &tunnel.Preamble{
		Target: key.Target.Path(), Service: key.Service, Caller: a.self.Path(), Inner: tunnelpb.Inner_INNER_MUX,
	})
	if err != nil {
		return nil, err
	}
	s, err := e2e.Client(ctx, st, a.cfg.Credentials, key.Target, &tunnel.Hello{
		InstanceId: a.cfg.InstanceID, BootId: a.boot, Agent: a.cfg.Program,
	})
	if err != nil {
		return nil, err
	}
	l.add(s)
	a.wg.Go(func() {
		<-s.Done()
		l.remove(s)
	})
	return s, nil
}

// link gives the session of the first slot that has one.
func (a *Agent) link() *link {
	for _, s := range a.slots {
		s.mu.Lock()
		l := s.current
		s.mu.Unlock()
		if l != nil {
			return l
		}
	}
	return nil
}
